"""What one job of a sweep does: train, evaluate, draw samples, and only then say that it is done."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.cluster import slurm
from jobs.cluster.slurm import OwnJob, SlurmError
from jobs.execution import rendezvous
from jobs.execution.shutdown import Interruption
from jobs.records import run_directory, submissions
from jobs.records.run_directory import Run
from pianogen import atomic, logs
from pianogen.errors import Interrupted, PianogenError
from pianogen.evaluation.sample_metrics import measure
from pianogen.lock import DEAD_AFTER_S, Lock, LockError
from pianogen.store import Store, StoreError

_LOOK_EVERY_S = 1.0
_INSIST_S = 60.0  # of the 90 s of notice, on a scheduler that does not answer
_TAKEOVER_S = DEAD_AFTER_S + 15
_VAIN_ATTEMPTS = 10


class RunError(PianogenError):
    """A run cannot be attempted, or not again."""


def run_job(path: str) -> None:
    """Trains a run and draws its samples, from wherever the last attempt came; nothing, if it is done.

    Told to leave by a time limit or a preemption, its job is queued again.

    Raises:
        PianogenError: what stopped it; provenance.json has the message too.
    """
    run, own = Run(Path(path)), slurm.own_job()
    if run.read_result() is not None:
        return
    with Interruption() as interruption:
        if own.rank == 0:
            _lead(run, own, interruption)
        else:
            _assist(run, own, interruption)


def _lead(run: Run, own: OwnJob, interruption: Interruption) -> None:
    belongs_to = _find_submission(run, own)
    with _alone(run, own):
        _attempt(run, own, interruption, belongs_to)


def _attempt(run: Run, own: OwnJob, interruption: Interruption, belongs_to: str) -> None:
    log = run.path / run_directory.begin_attempt(run, own.id, own.restart, belongs_to)
    try:
        with _output_to(log):
            result, facts = _train_and_sample(run, own, interruption)
        run_directory.end_attempt(run, **facts)
        atomic.write_text(run.path / "result.json", json.dumps(result, indent=2) + "\n")
    except Interrupted as error:
        run_directory.end_attempt(run, left=str(error))
        if own.id:
            _come_back(run, own)
        raise
    except BaseException as error:
        expected = isinstance(error, PianogenError)
        run_directory.end_attempt(run, error=f"{error if expected else _describe(error)}; see {log}")
        raise


def _assist(run: Run, own: OwnJob, interruption: Interruption) -> None:
    """What a worker does that does not write the files of its run."""
    logs.import_tensorflow()
    from pianogen.training import loop

    (run.path / "log").mkdir(exist_ok=True)
    config = run.read_config()
    with _output_to(run.path / "log" / f"worker-{own.rank}.log"), rendezvous.meet(run, own) as found:
        with _near(run.open_store(), config.local_copy) as store, suppress(Interrupted):
            loop.train(config, store, run.path, config.devices, found, interruption)
        # The first worker still writes its checkpoint, or evaluates and draws samples; where one is gone, all are ended.
        while "ended" not in run.read_provenance()["attempts"][-1]:
            time.sleep(_LOOK_EVERY_S)


def _find_submission(run: Run, own: OwnJob) -> str:
    """The folder of the submission that this attempt belongs to; outside of Slurm, of the last before it.

    Of Slurm's jobs only the last that is recorded for a run works on it: a submission that was killed between queueing and
    recording has left jobs that nobody knows of, and that the next one has queued again.

    Raises:
        RunError: another job is meant for this run.
    """
    deadline = time.monotonic() + run_directory.HIDDEN_S
    while True:
        job, queued = submissions.last_to_train(run.path.parent).get(run.name, ("", None))
        folder = queued.folder.name if queued else ""
        if own.id in ("", job):
            return folder
        if folder > own.folder.name or time.monotonic() > deadline:
            raise RunError(
                f"job {own.id} leaves {run.path} alone: " + (f"job {job} is meant for it" if job else "it is in no record")
            )
        time.sleep(_LOOK_EVERY_S)


@contextmanager
def _alone(run: Run, own: OwnJob) -> Iterator[None]:
    """Two processes that train one run would spoil it.

    Raises:
        RunError: a job that Slurm knows to run is at it, if only stopped for a while.
        LockError: a process elsewhere is at it.
    """
    attempts = run.read_provenance()["attempts"]
    other = attempts[-1]["job"] if attempts and "ended" not in attempts[-1] else ""
    if other not in ("", own.id):
        known = slurm.ask({other: submissions.job_name(run.path.parent / "jobs", "train")}).get(other)
        if known is not None and known.phase == "running":
            raise RunError(f"{run.path} is being trained by job {other}; wait for it, or cancel it")
    run.lock.parent.mkdir(exist_ok=True)
    deadline = time.monotonic() + (_TAKEOVER_S if own.id else 0)
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(Lock(run.lock, f"{run.path} is being trained", slurm.batch_job()))
                break
            except LockError:  # its owner may have died with its node a moment ago
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_EVERY_S)
        yield


def _come_back(run: Run, own: OwnJob) -> None:
    """Has Slurm queue this job again, as often as needed, as long as it is wanted and that leads anywhere."""
    last = [attempt.get("left") for attempt in run.read_provenance()["attempts"][-_VAIN_ATTEMPTS:]]
    if len(last) == _VAIN_ATTEMPTS and len(set(last)) == 1:
        run_directory.end_attempt(
            run,
            error=f"preempted too often: {_VAIN_ATTEMPTS} attempts in a row came no further ({last[0]}); "
            "give it more time with slurm.timeout_min, or a partition that preempts less",
        )
        return
    deadline = time.monotonic() + _INSIST_S
    while True:
        try:
            if slurm.is_wanted(own.id):
                slurm.requeue(own.id)
            return
        except SlurmError as error:
            if time.monotonic() > deadline:
                run_directory.end_attempt(run, error=f"{last[-1]}, but could not be queued again: {error}")
                raise
        time.sleep(_LOOK_EVERY_S)


def _describe(error: BaseException) -> str:
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return f"out of memory ({(str(error).splitlines() or [kind])[0]}): raise slurm.memory_gb, or lower training.batch"
    return f"{kind}: {error}"


def _train_and_sample(run: Run, own: OwnJob, interruption: Interruption) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result, equal for equal runs, and what is worth knowing of the attempt."""
    # TensorFlow is imported here, in the job: the commands that only submit or look never wait for it.
    logs.import_tensorflow()
    import tensorflow as tf

    from pianogen.data.statistics import compute_statistics
    from pianogen.evaluation.held_out import evaluate_held_out
    from pianogen.evaluation.trivial import constant_predictor_loss
    from pianogen.sampling.draw import Sampler, draw_to_store
    from pianogen.sampling.sample_store import SampleSource
    from pianogen.training.loop import train

    config = run.read_config()
    with rendezvous.meet(run, own) as found, _near(run.open_store(), config.local_copy) as store:
        trained = train(config, store, run.path, config.devices, found, interruption)
        statistics = compute_statistics(trained.windows)
        evaluations = evaluate_held_out(trained.network, store, config.data, statistics, interruption)
    sampler = Sampler(trained.network, config.sampling, statistics, config.data.window_steps)
    source = SampleSource(run.name, trained.checkpoint)
    rolls = draw_to_store(run.path / "samples.h5", sampler, source, interruption)
    last = trained.history[-1]
    best = min((row["valid_loss"] for row in trained.history if "valid_loss" in row), default=None)
    result = {
        "checkpoint": trained.checkpoint,
        "parameters": trained.network.keras.count_params(),
        "windows": len(trained.windows),
        **last,
        "best_valid_loss": best,
        "constant_predictor_loss": constant_predictor_loss(statistics),
        "held_out": {split: evaluation.as_json() for split, evaluation in evaluations.items()},
        "samples": [asdict(measure(roll)) for roll in rolls],
    }
    facts: dict[str, Any] = {"devices": [device.name for device in tf.config.list_logical_devices()]}
    if trained.iterations_per_s is not None:
        facts["iterations_per_s"] = trained.iterations_per_s
    return result, facts


@contextmanager
def _near(store: Store, local_copy: bool) -> Iterator[Store]:
    """The open store, or a copy of it in the node's temporary folder, removed at the end.

    Raises:
        StoreError: there is no room for the copy.
    """
    with store:
        if not local_copy:
            yield store
            return
        size, folder = store.path.stat().st_size, Path(tempfile.gettempdir())
        if (free := shutil.disk_usage(folder).free) < size:
            raise StoreError(
                f"{folder} has {free:,} bytes free and {store.path} needs {size:,}; "
                "set TMPDIR to a local disk, or local_copy: false"
            )
        with tempfile.TemporaryDirectory(prefix="pianogen-", dir=folder) as name:
            shutil.copyfile(store.path, Path(name, store.path.name))
            with Store(Path(name, store.path.name)) as copy:
                yield copy


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Standard output and error of the process, its libraries' too, go to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in enumerate(saved, start=1):
            os.dup2(handle, number)
            os.close(handle)
