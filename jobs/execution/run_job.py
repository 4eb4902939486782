"""The job of a run: it trains, evaluates and draws samples, and only then writes the result that marks the run as done."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path

from jobs.cluster import own_job
from jobs.cluster.client import SlurmError
from jobs.cluster.own_job import OwnJob
from jobs.execution import claim, job_files, rendezvous
from jobs.execution.requeue import requeue
from jobs.execution.shutdown import ShutdownFlag, flag_shutdown
from jobs.execution.tracking import tracked
from jobs.execution.usage_meter import metered
from jobs.records import attempts
from jobs.records.held_out import with_unbeaten
from jobs.records.provenance import Outcome
from jobs.records.result import Result
from jobs.records.run_directory import Run
from jobs.records.samples import SAMPLES, hash_primer
from pianogen import logs
from pianogen.command import counted
from pianogen.errors import Interrupted, PianogenError
from pianogen.evaluation.sample_metrics import measure

_POLL_S = 1.0
_MAX_ATTEMPTS_WITHOUT_PROGRESS = 10
_log = logging.getLogger(__name__)


class ProgressError(PianogenError):
    """The attempts of a run are interrupted without any progress."""


def run_job(path: str, is_packed: bool = False) -> None:
    """Trains a run from its last checkpoint and draws its samples; does nothing if the run is done.

    After a shutdown signal, such as that of a time limit or a preemption, the Slurm job is requeued.

    Args:
        path: the directory of the run.
        is_packed: the job has other runs, and requeues itself when all of them have exited.

    Raises:
        PianogenError: the attempt failed or was interrupted; provenance.json has the message too.
    """
    run, own = Run(Path(path)), own_job.own_job()
    with flag_shutdown() as shutdown_requested:
        # Every worker waits until the submission has written the run, or removed the result that it had.
        submission = claim.find_submission(run, own)
        if run.read_result() is not None:
            return
        if own.rank > 0:
            _train_as_worker(run, own, shutdown_requested)
            return
        with claim.exclusive(run, own):
            _attempt(run, own, submission, shutdown_requested, is_packed)


def _attempt(run: Run, own: OwnJob, submission: str, shutdown_requested: ShutdownFlag, is_packed: bool) -> None:
    log = attempts.begin_attempt(run, own, submission)
    # Trackers end after the records and the requeue: they may wait for a network, and the scheduler soon kills the job.
    with job_files.output_to(log), ExitStack() as trackers_end:
        try:
            with metered(run, own.rank, shutdown_requested) as polled:
                result, iterations_per_s = _train_and_sample(run, own, polled, trackers_end)
                devices = _device_names()
            attempts.end_attempt(run, devices=devices, iterations_per_s=iterations_per_s)
            run.write_result(result)
        except Interrupted as error:
            attempts.end_attempt(run, interrupted=str(error))
            if not own.id:
                raise
            _check_progress(run, str(error))
            if is_packed:
                raise
            if not run.read_config().slurm.is_requeued:
                return  # with exit code 0: accounting would report a failed job like one that failed after a requeue
            _requeue(run, own, str(error))
            raise
        except BaseException as error:  # recorded and raised again
            attempts.end_attempt(run, error=f"{_describe(error, run)}; see {log}")
            raise


def _train_as_worker(run: Run, own: OwnJob, shutdown_requested: ShutdownFlag) -> None:
    """Trains beside the first worker, which alone writes the records of the run."""
    logs.import_tensorflow()
    from pianogen.data.statistics import train_statistics
    from pianogen.training import loop

    (run.path / "log").mkdir(exist_ok=True)
    config = run.read_config()
    with job_files.output_to(run.path / "log" / f"worker-{own.rank}.log"), rendezvous.meet(run, own) as workers:
        with (
            job_files.local_store(run.open_store(), config.local_copy) as store,
            suppress(Interrupted),
            metered(run, own.rank, shutdown_requested) as polled,
        ):
            statistics = train_statistics(store, config.data)
            loop.train(config, store, statistics, run.path, config.devices, workers, polled)
        # The first worker still writes its checkpoint, or evaluates and draws samples. srun kills the other workers when one
        # exits with an error, so this one waits.
        while run.read_provenance().attempts[-1].outcome is Outcome.UNRECORDED:
            time.sleep(_POLL_S)


def _check_progress(run: Run, interrupted: str) -> None:
    """Ends a run whose attempts make no progress, so that no job continues it.

    Raises:
        ProgressError: the last attempts of this submission were interrupted at the same iteration.
    """
    last = run.read_provenance().attempts[-_MAX_ATTEMPTS_WITHOUT_PROGRESS:]
    messages = [attempt.interrupted for attempt in last if attempt.submission == last[-1].submission]
    if messages == [interrupted] * _MAX_ATTEMPTS_WITHOUT_PROGRESS:
        error = (
            f"preempted too often: {len(messages)} attempts in a row made no progress ({interrupted}); "
            "raise slurm.timeout_min, or use a partition that preempts less, and resubmit"
        )
        attempts.end_attempt(run, interrupted=interrupted, error=error)
        raise ProgressError(error)


def _requeue(run: Run, own: OwnJob, interrupted: str) -> None:
    try:
        requeue(own, run.read_config().slurm.signal_lead_s)
    except SlurmError as failure:
        attempts.end_attempt(run, interrupted=interrupted, error=f"{interrupted}, but the job was not requeued: {failure}")
        raise


def _describe(error: BaseException, run: Run) -> str:
    """The error and the next action, for the record of the attempt."""
    cause = error.__cause__ or error
    message = str(error) if isinstance(error, PianogenError) else f"{type(error).__name__}: {error}"
    if not isinstance(cause, MemoryError) and type(cause).__name__ != "ResourceExhaustedError":
        return message
    if not isinstance(error, PianogenError):
        message = f"out of memory ({message.splitlines()[0]}): lower training.batch, or request more memory"
    config = run.read_config()
    return message if config.device == "gpu" else f"{message} (slurm.memory_gb is {config.slurm.memory_gb})"


def _train_and_sample(
    run: Run, own: OwnJob, shutdown_requested: Callable[[], bool], trackers_end: ExitStack
) -> tuple[Result, float | None]:
    """The result, and the training speed in iterations per second.

    Args:
        trackers_end: the trackers end when it closes.
    """
    _log.info("new attempt of %s: %s", run.path, f"job {own.id}, restart {own.restarts}" if own.id else "outside of Slurm")
    # TensorFlow is imported here, in the job: commands that submit or show the status do not wait for it.
    logs.import_tensorflow()
    from pianogen.data.statistics import train_statistics
    from pianogen.evaluation.held_out import evaluate_held_out
    from pianogen.evaluation.passage_search import measure_memorization
    from pianogen.evaluation.trivial import constant_predictor_loss
    from pianogen.sampling.draw import Sampler, draw_to_store
    from pianogen.sampling.sample_store import SampleSource
    from pianogen.training.devices import find_strategy
    from pianogen.training.loop import TrainingResult, train
    from pianogen.training.trained_model import load_trained_model

    config = run.read_config()
    run.check_primer()
    run.check_members()
    trackers = trackers_end.enter_context(tracked(run, config.training.tracker))
    with (
        rendezvous.meet(run, own) as workers,
        job_files.local_store(run.open_store(), config.local_copy) as store,
    ):
        statistics = train_statistics(store, config.data, config.predicts_every_row)
        if config.model.ensemble:
            find_strategy(config.devices, workers)
            network, checkpoint = load_trained_model(config, statistics.keys, run.path, statistics.steps_per_quarter)
            trained = TrainingResult(network, num_windows=0, history=[], checkpoint=checkpoint, iterations_per_s=None)
        else:
            trained = train(config, store, statistics, run.path, config.devices, workers, shutdown_requested, trackers)
        _log.info("evaluating on the valid and test splits")
        evaluations = evaluate_held_out(trained.network, store, config.data, statistics, shutdown_requested)
        sampler = Sampler(trained.network, config.sampling, statistics)
        source = SampleSource(run.name, trained.checkpoint, hash_primer(config.sampling))
        _log.info("drawing %s of %s", counted(config.sampling.num, "sample"), counted(config.sampling.steps, "step"))
        rolls = draw_to_store(run.path / SAMPLES, sampler, source, shutdown_requested)
        trackers.log_samples(int(trained.history[-1]["iteration"]) if trained.history else 0, rolls)
        _log.info("searching the train split for passages of the samples")
        memorization = measure_memorization(rolls, store, config.data.groups, shutdown_requested)
    result = Result(
        checkpoint=trained.checkpoint,
        parameters=trained.network.keras.count_params(),
        windows=trained.num_windows,
        metrics=trained.history[-1] if trained.history else {},
        best_valid_loss=min((row["valid_loss"] for row in trained.history if "valid_loss" in row), default=None),
        constant_predictor_loss=constant_predictor_loss(statistics, config),
        held_out={split: with_unbeaten(evaluation.as_json()) for split, evaluation in evaluations.items()},
        samples=[asdict(measure(roll)) for roll in rolls],
        memorization=memorization,
    )
    return result, trained.iterations_per_s


def _device_names() -> list[str]:
    import tensorflow as tf

    return [device.name for device in tf.config.list_logical_devices()]
