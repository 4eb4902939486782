"""The attempts of a run: recorded at their start and at their end."""

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pianogen
from jobs.cluster.own_job import OwnJob
from jobs.records import usage
from jobs.records.provenance import Attempt
from jobs.records.run_directory import Run
from pianogen import arithmetic

# Disk space that an attempt reserves, so that it can record its end when the disk is full.
_RESERVE, _RESERVE_BYTES = Path("log", "reserve"), 2**15


def begin_attempt(run: Run, own: OwnJob, submission: str) -> Path:
    """Records a new attempt and returns the path of its log.

    Args:
        own: the Slurm job of this process.
        submission: the folder name of its submission; outside of Slurm, of the last submission of the run.
    """
    provenance = run.read_provenance()
    earlier = provenance.attempts
    if earlier and earlier[-1].usage is None:  # it was killed
        earlier = [*earlier[:-1], earlier[-1].with_usage(usage.read(run.log))]
    usage.clear(run.log)
    attempt = Attempt(
        started=_now(),
        host=socket.gethostname(),
        pid=os.getpid(),
        job=own.id,
        restart=own.restarts,
        submission=submission,
        code=Path(pianogen.__file__).parents[1].name,
        log=f"log/attempt-{len(earlier) + 1:02d}.log",
        environment=arithmetic.recorded(),
    )
    provenance = replace(provenance, attempts=[*earlier, attempt])
    run.write_provenance(provenance)
    run.log.mkdir(exist_ok=True)
    with suppress(OSError):  # it only shows the progress of the attempt before
        run.progress.unlink()
    (run.path / _RESERVE).write_bytes(os.urandom(len(json.dumps(provenance.to_json(), indent=2)) + _RESERVE_BYTES))
    return run.path / attempt.log


def end_attempt(
    run: Run,
    *,
    interrupted: str | None = None,
    error: str | None = None,
    devices: list[str] | None = None,
    iterations_per_s: float | None = None,
) -> None:
    """Records the end of the last attempt and the resources that it has used; the arguments are those of `Attempt`."""
    (run.path / _RESERVE).unlink(missing_ok=True)
    provenance = run.read_provenance()
    *earlier, last = provenance.attempts
    last = replace(
        last,
        ended=_now(),
        interrupted=interrupted,
        error=error,
        devices=devices,
        iterations_per_s=iterations_per_s,
    ).with_usage(usage.read(run.log))
    run.write_provenance(replace(provenance, attempts=[*earlier, last]))
    usage.clear(run.log)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
