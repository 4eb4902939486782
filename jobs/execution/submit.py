"""Submission of a sweep: its runs are checked, their jobs are queued or executed, and their directories are written."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jobs.cluster import slurm
from jobs.configuration import grid
from jobs.configuration.grid import Variation
from jobs.execution import launch, preflight
from jobs.execution.launch import Batch, Cluster, JobError
from jobs.execution.run_job import run_job
from jobs.records import status, status_table, submissions, sweep_directory
from jobs.records.run_directory import Run
from jobs.records.status import State, Status
from jobs.records.sweep_directory import JOBS, PlannedRun
from pianogen.combinations import find_doubts
from pianogen.errors import UsageError
from pianogen.store import Store

_log = logging.getLogger(__name__)
_NEW = Status(State.WAITING, "not submitted")


def submit(sweep: Path, overrides: Sequence[str], store_path: Path, out: Path, cluster: Cluster, is_shared: bool) -> None:
    """Submits the runs of a sweep that are neither done nor active.

    On Slurm failed runs are left to `resubmit`, so that their reasons are read first.

    Args:
        sweep: the sweep file.
        overrides: key=value, applied to the sweep file.
        out: the directory of the sweep.
        is_shared: the user states that the nodes see these paths.

    Raises:
        UsageError: a check failed, or Slurm rejected the jobs; nothing is written.
        JobError: jobs failed on this machine.
    """
    launch.check_cluster(cluster)
    values = grid.load_sweep(sweep, overrides)
    variations = grid.expand(values, sweep)
    out = out.resolve()
    sweep_directory.check_ownership(out)  # before a lock is written to it
    with Store(store_path) as store, submissions.exclusive(out):
        planned, existing = _plan(out, variations, store)
        statuses = status.read_statuses(existing)
        active = [run for run in existing if statuses[run].is_active]
        states = {entry.run: statuses.get(entry.run, _NEW).state for entry in planned}
        startable = (State.WAITING,) if cluster == "slurm" else (State.WAITING, State.FAILED)
        selected = [entry for entry in planned if states[entry.run] in startable and entry.run not in active]
        print(f"{out}: {status.count(list(states.values()))}; {len(selected)} to start", flush=True)

        def write_runs() -> None:
            sweep_directory.write_runs(out, values, planned, store, active)

        if selected:
            _check(cluster, out, store_path, selected, is_shared)
            start(cluster, _batch(out, selected), write_runs)
        else:
            write_runs()
            status_table.write(out, status_table.read(out))
    if cluster == "slurm":
        if State.FAILED in states.values():
            print(f"failed runs were not queued: see their reasons with status, then run python -m jobs.sweep resubmit {out}")
        print(f"show the status with: python -m jobs.sweep status {out}")


def dry_run(sweep: Path, overrides: Sequence[str], store_path: Path, out: Path, cluster: Cluster, is_shared: bool) -> None:
    """Checks a submission and prints its runs and its job script; the parameters are those of `submit`."""
    launch.check_cluster(cluster)
    variations = grid.expand(grid.load_sweep(sweep, overrides), sweep)
    out = out.resolve()
    with Store(store_path) as store:
        planned, _ = _plan(out, variations, store)
    unfinished = [entry for entry in planned if entry.is_new or entry.run.read_result() is None]
    if unfinished:
        _check(cluster, out, store_path, unfinished, is_shared)
    for entry in planned:
        print(f"{entry.identity[:12]}  {entry.run.name}{'  (new)' if entry.is_new else ''}")
    if cluster == "slurm":
        arrays = slurm.split(_batch(out, planned).preview())
        print(f"\n{slurm.script_text(arrays[0])}")
        if len(arrays) > 1:
            print(f"and {len(arrays) - 1} more of these scripts: the site limits the size of a job array")
    print(f"{len(planned)} runs; nothing was written")


def start(cluster: Cluster, batch: Batch, write_inputs: launch.WriteInputs) -> None:
    """Launches training jobs, reports them, and updates runs.csv.

    Raises:
        SlurmRefusal, JobError: as `launch.launch`.
    """
    out = batch.folder.parent
    try:
        jobs = launch.launch(cluster, batch, write_inputs)
        if jobs:
            print(f"queued {len(jobs)} jobs: {jobs[0]} to {jobs[-1]}")
    except JobError:
        status_table.write(out, status_table.read(out))
        raise
    status_table.write(out, status_table.read(out))


def _plan(out: Path, variations: Sequence[Variation], store: Store) -> tuple[list[PlannedRun], list[Run]]:
    """The runs of a submission, and all runs that the sweep has already."""
    existing = sweep_directory.find_runs(out)
    used_names = submissions.used_names(out / JOBS)
    return sweep_directory.plan_runs(out, variations, store.fingerprint, existing, used_names), list(existing.values())


def _batch(out: Path, planned: Sequence[PlannedRun]) -> Batch:
    paths = [str(entry.run.path.absolute()) for entry in planned]
    return Batch("train", run_job, paths, out / JOBS, planned[0].config.slurm)


def _check(cluster: Cluster, out: Path, store: Path, planned: Sequence[PlannedRun], is_shared: bool) -> None:
    configs = [entry.config for entry in planned]
    replicas = max(config.logical_devices * max(1, config.slurm.gpus_per_node) for config in configs)
    if cluster == "debug" and replicas > 1 and len(planned) > 1:
        raise UsageError(
            f"{len(planned)} runs of {replicas} replicas cannot be trained in one process: TensorFlow sets up its devices once; "
            "use --cluster local"
        )
    inputs = preflight.check_inputs(store, configs)
    preflight.check_resources(cluster, _batch(out, planned), [store.absolute(), out, *inputs], is_shared)
    preflight.check_models(store, configs)
    for doubt in sorted({doubt for config in configs for doubt in find_doubts(config)}):
        _log.warning(doubt)
