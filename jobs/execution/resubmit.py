"""Resubmission of the runs of a sweep that are neither done nor active."""

import functools
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from jobs.configuration import grid
from jobs.configuration.run_config import RunConfig
from jobs.execution import launch, preflight, submit
from jobs.execution.launch import Cluster
from jobs.records import status, submissions, sweep_directory
from jobs.records.provenance import read_git_state
from jobs.records.run_directory import Run
from jobs.records.run_state import State
from jobs.records.selection import open_selected
from jobs.records.status import Status
from pianogen.command import counted
from pianogen.errors import UsageError
from pianogen.validation import ConfigError


def resubmit(
    target: Path,
    selection: Sequence[str],
    overrides: Sequence[str],
    cluster: Cluster,
    is_dry_run: bool = False,
    from_scratch: bool = False,
) -> None:
    """Prints why runs of a sweep, or one run, are not done, and submits those that are not active.

    Args:
        selection: see `open_selected`.
        overrides: key=value, applied to the configurations; they may change the sampling, but not the training.
        is_dry_run: check and print what would be submitted, and submit and write nothing.
        from_scratch: remove what the runs have written, and train them from the start; of runs that are done, those that the
            selection or `target` names.

    Raises:
        UsageError: the selection matches no run, overrides apply to none or would change a training, the store or a primer has
            changed, a job draws samples of a run that would lose its model, or Slurm rejected the jobs; nothing is written.
        JobError: jobs failed on this machine.
    """
    launch.check_cluster(cluster)
    runs = open_selected(target, selection)
    with nullcontext() if is_dry_run else submissions.exclusive(runs[0].sweep):
        existing = sweep_directory.find_runs(runs[0].sweep)
        statuses = status.read_statuses(runs)
        selected = _select(statuses, with_done=from_scratch and (bool(selection) or Run(target).config_file.is_file()))
        if overrides and not selected:
            raise UsageError(
                f"{' '.join(overrides)} would change nothing, because no selected run of {target} is waiting or failed; draw "
                "other samples of finished runs with pianogen sample"
            )
        if from_scratch:
            submit.check_idle(selected, statuses)
        manner = "; their checkpoints, metrics, models and samples are removed" if from_scratch and selected else ""
        print(f"{len(selected)} of {counted(len(runs), 'run')} to start{manner}", flush=True)
        configs = _override_all(selected, overrides, existing)
        changes_sampling = any(text.startswith("sampling") for text in overrides)
        smoke_test_folder = None if is_dry_run else runs[0].sweep
        _check_inputs(configs, cluster, changes_sampling, from_scratch, smoke_test_folder)
        preflight.check_process(cluster, list(configs.values()))
        batches = submit.batches_of(runs[0].sweep, configs)
        for batch, _ in batches:
            preflight.check_resources(cluster, batch, [runs[0].sweep], is_shared=True)
        if is_dry_run:
            print("nothing was submitted or written")
        elif batches:
            write = functools.partial(_write, changes_sampling, from_scratch)
            submit.start(cluster, [(batch, functools.partial(write, configs)) for batch, configs in batches])


def _select(statuses: Mapping[Run, Status], with_done: bool) -> list[Run]:
    """Selects the runs that are not active and, unless `with_done`, not done; prints the states of these and of active runs."""
    selected = []
    for run, entry in statuses.items():
        if entry.state is not State.DONE or with_done:
            print(f"{run.name}: {entry.state}" + (f": {entry.reason}" if entry.reason else ""))
            if not entry.is_active:
                selected.append(run)
    return selected


def _check_inputs(
    configs: Mapping[Run, RunConfig], cluster: Cluster, changes_sampling: bool, from_scratch: bool, smoke_test_folder: Path | None
) -> None:
    """Checks the stores, the runs of ensembles and the primers; with a changed sampling, also makes a smoke test.

    Args:
        smoke_test_folder: see `preflight.smoke_test_runs`.

    Raises:
        UsageError: one of them has changed, or is missing.
    """
    _check_stores(list(configs), cluster)
    for run in configs if not from_scratch else ():
        run.check_members()
    if configs and changes_sampling:
        run = next(iter(configs))
        store = Path(run.read_provenance().store.path)
        preflight.check_inputs(store, list(configs.values()))
        preflight.smoke_test_runs(cluster, store, smoke_test_folder, list(configs.values()))
    else:
        for run in configs:
            run.check_primer()


def _check_stores(runs: Sequence[Run], cluster: Cluster) -> None:
    """Refuses a store that has changed or is missing; on Slurm, the nodes may see one that this machine does not see."""
    for store, run in {run.read_provenance().store: run for run in reversed(runs)}.items():
        if cluster != "slurm" or Path(store.path).exists():
            with run.open_store():
                pass


def _write(changes_sampling: bool, from_scratch: bool, configs: dict[Run, RunConfig]) -> None:
    git = read_git_state() if from_scratch else None
    for run, config in configs.items():
        if from_scratch:
            run.remove_results()
            run.write_provenance(run.read_provenance().submitted_again(git))
        if changes_sampling:
            run.write_provenance(run.read_provenance().with_sampling(config))
        sweep_directory.write_config(run, config)


def _override_all(runs: Sequence[Run], overrides: Sequence[str], existing: Mapping[str, Run]) -> dict[Run, RunConfig]:
    """The configurations of runs with overrides applied, all of them different; the parameters are those of `_override`."""
    configs: dict[Run, RunConfig] = {}
    known = dict(existing)
    for run in runs:
        configs[run] = _override(run, overrides, known)
        known[configs[run].identity(run.read_provenance().store.fingerprint)] = run
    return configs


def _override(run: Run, overrides: Sequence[str], existing: Mapping[str, Run]) -> RunConfig:
    """The configuration of a run with overrides applied.

    Args:
        existing: the runs of the sweep by identity.

    Raises:
        ConfigError: the overrides would change the training of the run, or make it equal to another run.
    """
    before, fingerprint = run.read_config(), run.read_provenance().store.fingerprint
    after = grid.override(before, overrides, run.config_file)
    if after.training_identity(fingerprint) != before.training_identity(fingerprint):
        raise ConfigError(
            f"{' '.join(overrides)} would change the result of the training of {run.name}, which makes it another run: submit it "
            "with the sweep. resubmit may change sampling, slurm, checkpoints, device and local_copy"
        )
    if (other := existing.get(after.identity(fingerprint), run)).name != run.name:
        raise ConfigError(f"{' '.join(overrides)} would make {run.name} equal to {other.name}; override other settings")
    return after
