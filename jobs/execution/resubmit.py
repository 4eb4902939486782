"""Resubmission of the runs of a sweep that are neither done nor active."""

import functools
from collections.abc import Sequence
from pathlib import Path

from jobs.configuration import grid, run_config
from jobs.configuration.run_config import RunConfig
from jobs.execution import launch, preflight, submit
from jobs.execution.launch import Cluster
from jobs.records import status, submissions, sweep_directory
from jobs.records.run_directory import Run
from jobs.records.selection import open_selected
from jobs.records.status import State
from pianogen.config import ConfigError


def resubmit(
    target: Path, selection: Sequence[str], overrides: Sequence[str], cluster: Cluster, is_dry_run: bool = False
) -> None:
    """Prints why runs of a sweep, or one run, are not done, and submits those that are not active.

    Args:
        selection: see `open_selected`.
        overrides: key=value, applied to the configurations; they may not change results.
        is_dry_run: check and print what would be submitted, and submit and write nothing.

    Raises:
        UsageError: the selection matches no run, an override would change a result, or Slurm rejected the jobs; nothing is
            written.
        JobError: jobs failed on this machine.
    """
    launch.check_cluster(cluster)
    runs = open_selected(target, selection)
    with submissions.exclusive(runs[0].sweep):
        sweep_directory.find_runs(runs[0].sweep)  # refuses copies of runs
        selected = []
        for run, entry in status.read_statuses(runs).items():
            if entry.state is not State.DONE:
                print(f"{run.name}: {entry.state}" + (f": {entry.reason}" if entry.reason else ""))
                if not entry.is_active:
                    selected.append(run)
        print(f"{len(selected)} of {len(runs)} runs to start", flush=True)
        batches = submit.batches_of(runs[0].sweep, {run: _override(run, overrides) for run in selected})
        for batch, _ in batches:
            preflight.check_resources(cluster, batch, [runs[0].sweep], is_shared=True)
        if is_dry_run:
            print("nothing was submitted or written")
        elif batches:
            submit.start(cluster, [(batch, functools.partial(_write, configs)) for batch, configs in batches])


def _write(configs: dict[Run, RunConfig]) -> None:
    for run, config in configs.items():
        sweep_directory.write_config(run, config)


def _override(run: Run, overrides: Sequence[str]) -> RunConfig:
    """The configuration of a run with overrides applied.

    Raises:
        ConfigError: the overrides would change the result of the run.
    """
    before = run.read_config()
    after = run_config.parse(grid.override(before.model_dump(mode="json"), overrides), str(run.config_file))
    if after.identity("") != before.identity(""):
        raise ConfigError(
            f"{' '.join(overrides)} would change the result of {run.name}, which makes it another run: submit it with the sweep. "
            "resubmit may change slurm, checkpoints, device and local_copy"
        )
    return after
