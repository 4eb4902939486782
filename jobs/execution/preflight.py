"""Checks before anything is queued or written: the models, the resources and the paths of a submission."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from jobs.cluster import environment, path_text, path_visibility, slurm
from jobs.configuration.run_config import RunConfig
from jobs.execution.launch import Batch, Cluster
from jobs.records.run_directory import Run
from pianogen import logs
from pianogen.errors import PianogenError, UsageError
from pianogen.store import Store

_MIN_TIMEOUT_MIN = 10  # an attempt takes minutes to start, and is asked to shut down 90 s before the limit


def check_models(store: Path, configs: Sequence[RunConfig]) -> None:
    """Builds each model and computes its loss on a batch of the store, in a separate process that sees no GPU.

    TensorFlow is imported in that process only.

    Raises:
        UsageError: a model cannot be trained.
    """
    unique = sorted({config.model_dump_json() for config in configs})
    try:
        with (
            environment.modified({"CUDA_VISIBLE_DEVICES": "-1"}),
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process,
        ):
            process.submit(_try_models, store, unique).result()
    except BrokenProcessPool:
        raise UsageError(
            "the process that builds the models was killed, perhaps out of memory; "
            "use smaller models, or submit from a machine with more memory"
        ) from None
    except PianogenError as error:
        raise UsageError(f"a run of this sweep is not valid: {error}") from None


def check_inputs(store: Path, configs: Sequence[RunConfig]) -> list[Path]:
    """Checks the files and runs that the configurations name.

    Returns:
        Their paths.

    Raises:
        UsageError: a primer is missing, or a run of an ensemble is not done, or was trained on other pieces.
    """
    with Store(store) as opened:
        fingerprint = opened.fingerprint
    primers = {Path(config.sampling.primer) for config in configs if config.sampling.primer}
    for primer in sorted(primers):
        if not primer.is_file():
            raise UsageError(f"sampling.primer {primer} is not a file; set it to a MIDI file or score")
    members = {(Path(path), config.data.groups) for config in configs for path in config.model.ensemble}
    for path, groups in sorted(members):
        _check_member(Run(path), groups, fingerprint)
    return [*primers, *(path for path, _ in members)]


def _check_member(run: Run, groups: tuple[str, ...], fingerprint: str) -> None:
    """Checks a run of an ensemble: it is done, its model is joint, and it was trained on these pieces."""
    if not run.config_file.is_file():
        raise UsageError(f"model.ensemble: {run.path} is not the directory of a run; correct the path")
    config = run.read_config()
    if not config.model.is_joint or config.model.ensemble:
        raise UsageError(f"model.ensemble: {run.path} is no trained run of model.name joint; remove it")
    if run.read_result() is None:
        raise UsageError(f"model.ensemble: {run.path} is not done; wait for it, or resubmit its sweep")
    trained_on = run.read_provenance().store
    if trained_on.fingerprint != fingerprint:
        raise UsageError(
            f"model.ensemble: {run.path} was trained on {trained_on.path} with fingerprint {trained_on.fingerprint}, but this "
            f"store has {fingerprint}; submit with the store of the runs"
        )
    if config.data.groups != groups:
        raise UsageError(
            f"model.ensemble: {run.path} was trained with data.groups {list(config.data.groups)}, expected {list(groups)}; set "
            "data.groups to those of the runs"
        )


def check_resources(cluster: Cluster, batch: Batch, paths: Sequence[Path], is_shared: bool) -> None:
    """Checks the time limit and the paths of a batch of jobs, and has sbatch validate its resources.

    Args:
        paths: the files and folders that the jobs use.
        is_shared: the user states that the nodes see the paths.

    Raises:
        SlurmRefusal: sbatch would reject the jobs.
        UsageError: the time limit is too short, or the nodes do not see a path.
    """
    if cluster == "debug":
        return
    path_text.check(paths)
    if cluster == "local":
        return
    lead_s = batch.resources.signal_lead_s
    minimum = max(_MIN_TIMEOUT_MIN, 2 * lead_s // 60)
    if batch.resources.timeout_min <= minimum:
        raise UsageError(
            f"slurm.timeout_min is {batch.resources.timeout_min}, but the start of an attempt takes minutes and its shutdown "
            f"begins {lead_s} s before the limit; set it to more than {minimum}"
        )
    if not is_shared:
        path_visibility.check_paths(paths, slurm.nodes_of(batch.resources.partition))
    slurm.test(slurm.split(batch.preview())[0])


def _try_models(store: Path, configs: Sequence[str]) -> None:
    logs.configure()
    if not os.environ.get(logs.VERBOSE):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # GPU builds of TensorFlow report the missing GPU as an error
    logs.import_tensorflow()
    from pianogen.training import model_check

    with Store(store) as opened:
        model_check.check_models(opened, [RunConfig.model_validate_json(text) for text in configs])
