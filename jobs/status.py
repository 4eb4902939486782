"""What became of each run: its directory says it; Slurm is asked, once for all, about those that have not ended.

A run is done if it has a result. An attempt that ended says so in provenance.json, with the reason; one that did not is still
at work, if its scheduler knows it, or else was killed, and then the scheduler knows why.
"""

import json
import re
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from jobs import slurm, submission
from jobs.rundir import Run
from jobs.slurm import JobState
from pianogen import lock

State = Literal["waiting", "running", "done", "failed"]
_LOCAL = ""
# What Slurm writes into a job's log where its accounting says FAILED: without control groups, and with them.
_OUT_OF_MEMORY = re.compile(r"exceeded (?:job |step )?memory limit|oom.?kill", re.IGNORECASE)
_CAUSES = {
    "OUT_OF_MEMORY": "out of memory: raise slurm.memory_gb, or lower training.batch",
    "TIMEOUT": "its time limit ended it before it could leave; raise slurm.timeout_min",
    "DEADLINE": "its time limit ended it before it could leave; raise slurm.timeout_min",
    "NODE_FAIL": "its node failed, and Slurm did not queue it again",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "it was preempted, and Slurm did not queue it again",
}


@dataclass(frozen=True, slots=True)
class Status:
    """What became of a run.

    Attributes:
        state: waiting, running, done or failed.
        reason: in plain words: why it waits or failed; '' if there is nothing to say.
        job: Slurm's id of the job that is queued or running for it; '' if none is.
        progress: of a running one: done, total, rate, left_s, note and has_ended, as far as it has said so.
    """

    state: State
    reason: str = ""
    job: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_queued_or_running(self) -> bool:
        return self.job != "" or self.state == "running"


def look(runs: Sequence[Run]) -> list[Status]:
    """The status of each run.

    Raises:
        SlurmError: Slurm is here and does not answer.
    """
    newest = {out: submission.last_to_train(out) for out in {run.path.absolute().parent for run in runs}}
    jobs = {run: newest[run.path.absolute().parent].get(run.name, (_LOCAL, Path())) for run in runs if run.read_result() is None}
    known = slurm.ask({job for job, _ in jobs.values() if job}) if shutil.which("squeue") else {}
    return [_status(run, known.get(jobs[run][0]), *jobs[run]) if run in jobs else Status("done") for run in runs]


def count(states: Sequence[State]) -> str:
    """How many there are of each state: '4 runs, 1 waiting, 3 done'."""
    counts = Counter(states)
    return f"{len(states)} runs, " + ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])


def local_process(run: Run) -> int | None:
    """The process of this machine that works on a run outside of Slurm, None if none does."""
    attempts = run.read_provenance()["attempts"]
    last = attempts[-1] if attempts else None
    if last is None or "ended" in last or last["job"] or last["host"] != socket.gethostname():
        return None
    return int(last["pid"]) if lock.born(last["pid"]) == last["born"] else None


def _status(run: Run, known: JobState | None, job: str, folder: Path) -> Status:
    if run.read_result() is not None:  # since Slurm was asked
        return Status("done")
    attempts = run.read_provenance()["attempts"]
    last = attempts[-1] if attempts else None
    if known is not None and known.phase == "queued":
        return Status("waiting", _queued(known, job, last), job)
    if known is not None and known.phase == "running":
        if last is None or (last["job"], last["restart"]) != (job, known.restarts):
            return Status("running", f"job {job} is starting", job)
        if "ended" not in last:
            return _at_work(run, job)
        if "left" in last:
            return Status("waiting", last["left"], job)
    if last is not None and (known is None or last["job"] == job):
        if "error" in last:
            return Status("failed", last["error"])
        if "left" in last:
            return Status("waiting", f"{last['left']}; it is not queued")
    if known is not None and known.phase == "running":
        return Status("running", "", job)
    if known is not None:
        return _ended(run, known, job, folder, last)
    if last is None and job and shutil.which("squeue"):
        return Status("failed", f"Slurm knows nothing of job {job} any more, and it never began; see {folder}")
    if last is None:
        return Status("waiting", "it is not queued")
    return _without_slurm(run, last)


def _queued(known: JobState, job: str, last: Mapping[str, Any] | None) -> str:
    why = f"queued as job {job} ({known.reason or known.state})"
    if last is None:
        return why
    before = last.get("error") or last.get("left") or f"the attempt on {last['host']} ended without a word"
    return f"{why}; {before}"


def _ended(run: Run, known: JobState, job: str, folder: Path, last: Mapping[str, Any] | None) -> Status:
    """What a job that has ended left behind where its attempt did not say it."""
    said_by_slurm = folder / f"{job}_0_log.err"  # submitit's name for it
    log = run.path / last["log"] if last is not None and last["job"] == job else said_by_slurm
    if known.state == "CANCELLED":
        return Status("waiting", f"job {job} was cancelled; it is not queued")
    state = "OUT_OF_MEMORY" if known.signal == signal.SIGKILL and _OUT_OF_MEMORY.search(_text(said_by_slurm)) else known.state
    if state in _CAUSES:
        return Status("failed", f"{_CAUSES[state]}; see {log}")
    ending = f"signal {known.signal} ({_name(known.signal)})" if known.signal else f"exit code {known.exit_code}"
    said = _last_line(log)
    return Status("failed", f"job {job} ended with {ending} and without a word" + (f": {said}" if said else "") + f"; see {log}")


def _without_slurm(run: Run, last: Mapping[str, Any]) -> Status:
    if last["job"]:
        if shutil.which("squeue"):
            return Status("failed", f"Slurm knows nothing of job {last['job']} any more; see {run.path / last['log']}")
        return Status("running", f"job {last['job']} cannot be asked about from here: there is no Slurm", last["job"])
    if last["host"] != socket.gethostname():
        return Status("running", f"as process {last['pid']} of {last['host']}, where status can tell if it still does")
    if local_process(run) is None:
        return Status("failed", f"its process ended without a word; see {run.path / last['log']}")
    return _at_work(run)


def _at_work(run: Run, job: str = "") -> Status:
    try:
        progress = json.loads((run.path / "log" / "progress.json").read_text())
    except FileNotFoundError:  # that of the attempt before is removed when one begins
        progress = {}
    return Status("running", "" if progress else "it is starting", job, progress)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of another system
        return "unknown"


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _last_line(path: Path) -> str:
    lines = [line for line in _text(path).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""
