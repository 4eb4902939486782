"""Promotion of the best runs of a sweep: new runs that continue their training to more epochs."""

import functools
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from jobs.configuration import grid
from jobs.configuration.grid import Variation
from jobs.configuration.run_config import RunConfig
from jobs.execution import launch, preflight, submit
from jobs.execution.launch import Cluster
from jobs.records import submissions, sweep_directory
from jobs.records.held_out import Measure
from jobs.records.provenance import Provenance, read_git_state
from jobs.records.run_directory import Run
from jobs.records.selection import open_selected
from jobs.records.sweep_directory import JOBS, PlannedRun
from pianogen.command import counted
from pianogen.errors import UsageError
from pianogen.training.history import read_history
from pianogen.validation import ConfigError

_COPIED = ("metrics.csv", "checkpoints")
_PROMOTED = "-promoted"  # the end of the names of new runs


def promote(
    target: Path, selection: Sequence[str], top: int, overrides: Sequence[str], cluster: Cluster, is_dry_run: bool = False
) -> None:
    """Adds a run with more epochs to a sweep for each of its best runs, and submits it.

    The new run starts from the checkpoint of the old one. It ends with the same weights as a run that was submitted with that
    many epochs. The best runs have the lowest negative log-likelihood on the valid split.

    Args:
        selection: the runs to choose from; see `open_selected`.
        top: the number of runs.
        overrides: key=value, among them training.epochs.
        is_dry_run: print what would be submitted, and submit and write nothing.

    Raises:
        UsageError: no selected run is done, a run cannot be continued, or Slurm rejected the jobs; nothing is written.
        JobError: jobs failed on this machine.
    """
    launch.check_cluster(cluster)
    runs = open_selected(target, selection)
    sweep = runs[0].sweep
    with nullcontext() if is_dry_run else submissions.exclusive(sweep):
        existing = sweep_directory.find_runs(sweep)
        best = _find_best(target, runs, top, overrides)
        variations = [Variation(_label(run), config) for run, config in best.items()]
        fingerprint = runs[0].read_provenance().store.fingerprint
        used_names = submissions.used_names(sweep / JOBS)
        planned = sweep_directory.plan_runs(sweep, variations, fingerprint, existing, used_names)
        sources = {entry.run: (run, entry) for run, entry in zip(best, planned, strict=True) if entry.is_new}
        for new, (run, _) in sources.items():
            _check_files(run)
            print(f"{run.name} -> {new.name}")
        print(f"{len(sources)} of {counted(len(best), 'run')} to start", flush=True)
        configs = {new: entry.config for new, (_, entry) in sources.items()}
        if configs:
            with runs[0].open_store() as store:
                preflight.check_inputs(store.path, list(configs.values()))
        preflight.check_process(cluster, list(configs.values()))
        batches = submit.batches_of(sweep, configs)
        for batch, _ in batches:
            preflight.check_resources(cluster, batch, [sweep], is_shared=True)
        if is_dry_run:
            print("nothing was submitted or written")
        elif batches:
            copies = [[sources[new] for new in configs] for _, configs in batches]
            submit.start(
                cluster, [(batch, functools.partial(_write, copied)) for (batch, _), copied in zip(batches, copies, strict=True)]
            )


def _find_best(target: Path, runs: Sequence[Run], top: int, overrides: Sequence[str]) -> dict[Run, RunConfig]:
    """The runs to continue, best first, and the configurations of the new runs.

    Raises:
        UsageError: there are none, or one of the best cannot be continued.
    """
    figures = {run: result.figure("valid", Measure.NATS) for run in runs if (result := run.read_result())}
    ranked = sorted((figure, run.name, run) for run, figure in figures.items() if figure is not None)
    if not ranked:
        raise UsageError(f"no selected run of {target} is done and has a likelihood on the valid split; wait for the sweep")
    best: dict[Run, RunConfig] = {}
    ended = []
    for run in _longest([run for _, _, run in ranked])[:top]:
        config = _extend(run, overrides)
        if reason := _describe_end(run, config):
            ended.append(reason)
        else:
            best[run] = config
    if not best:
        raise ConfigError(ended[0])
    for reason in ended:
        print(reason)
    _check_distinct(best, overrides)
    return best


def _longest(ranked: Sequence[Run]) -> list[Run]:
    """The run with the most epochs of each training, where some runs continue others; best training first."""
    trainings: dict[str, list[tuple[int, Run]]] = {}
    for run in ranked:
        config = run.read_config()
        training = config.training.model_copy(update={"epochs": 1})
        identity = config.model_copy(update={"training": training}).identity("")
        trainings.setdefault(identity, []).append((config.training.epochs, run))
    return [max(members, key=lambda member: member[0])[1] for members in trainings.values()]


def _describe_end(run: Run, after: RunConfig) -> str:
    """The reason why a run would not train longer with a configuration; '' if it would."""
    training = run.read_config().training
    if training.patience is not None and _epochs_since_best(run) >= training.patience:
        return f"{run.name} has stopped early, so it would not train longer with more epochs; select other runs"
    if after.training.epochs <= training.epochs:
        return f"training.epochs is {after.training.epochs}, and {run.name} has {training.epochs}; give more epochs"
    return ""


def _epochs_since_best(run: Run) -> int:
    """The number of epochs since the best validation loss, as early stopping counts them."""
    best, num_epochs = math.inf, 0
    for row in read_history(run.path / "metrics.csv"):
        loss = row.get("valid_loss")
        if loss is None:  # without a valid split there is no early stopping
            return 0
        best, num_epochs = (loss, 0) if loss < best else (best, num_epochs + 1)
    return num_epochs


def _check_distinct(best: Mapping[Run, RunConfig], overrides: Sequence[str]) -> None:
    """Refuses overrides with which two of the new runs would be equal."""
    names: dict[str, str] = {}
    for run, config in best.items():
        if (other := names.setdefault(config.identity(""), run.name)) != run.name:
            raise ConfigError(f"{' '.join(overrides)} would make the runs that continue {other} and {run.name} equal; select one")


def _label(run: Run) -> str:
    return f"{run.name.partition('-')[2].removesuffix(_PROMOTED)}{_PROMOTED}"


def _extend(run: Run, overrides: Sequence[str]) -> RunConfig:
    """The configuration of a run with overrides applied.

    Raises:
        ConfigError: an override would change more of the training than its epochs, or the run cannot be continued.
    """
    before = run.read_config()
    after = grid.override(before, overrides, run.config_file)
    training = before.training.model_copy(update={"epochs": after.training.epochs})
    if before.model_copy(update={"training": training}).training_identity("") != after.training_identity(""):
        raise ConfigError(f"{' '.join(overrides)} would change the training of {run.name}; promote changes training.epochs alone")
    if before.training.schedule != "constant" or before.training.max_iterations is not None or before.model.ensemble:
        raise ConfigError(
            f"{run.name} cannot be promoted: this requires training.schedule constant, no training.max_iterations and no "
            "model.ensemble; submit a sweep with more epochs"
        )
    return after


def _check_files(run: Run) -> None:
    """Refuses a run that has lost the files that its training continues from.

    Raises:
        ConfigError: it has no metrics or no checkpoint.
    """
    for pattern in ("metrics.csv", "checkpoints/*.index"):
        if not any(run.path.glob(pattern)):
            raise ConfigError(
                f"{run.name} cannot be continued: {run.path / pattern} is missing; restore it from a backup, or submit a sweep "
                "with more epochs"
            )


def _write(copies: Sequence[tuple[Run, PlannedRun]]) -> None:
    """Writes new runs with the metrics and checkpoints of the runs that they continue."""
    git = read_git_state()
    for source, entry in copies:
        new = entry.run.path
        new.mkdir(exist_ok=True)
        shutil.rmtree(new / "checkpoints", ignore_errors=True)  # of a promotion that was killed
        for name in _COPIED:
            path = source.path / name
            if path.is_dir():
                shutil.copytree(path, new / name)
            else:
                shutil.copyfile(path, new / name)
        with source.open_store() as store:
            provenance = Provenance.of_submission(entry.config, store, git)
        entry.run.write_provenance(replace(provenance, promoted_from=source.name))
        sweep_directory.write_config(entry.run, entry.config)  # last: a directory without it is not a run
