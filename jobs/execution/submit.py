"""Submission of a sweep: its runs are checked, their jobs are queued or executed, and their directories are written."""

import logging
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.cluster import slurm
from jobs.cluster.client import SlurmError
from jobs.cluster.slurm import SlurmRefusal
from jobs.configuration import grid
from jobs.configuration.grid import Variation
from jobs.configuration.run_config import RunConfig
from jobs.execution import launch, preflight
from jobs.execution.launch import Batch, Cluster, JobError
from jobs.execution.run_job import run_job
from jobs.records import run_processes, status, status_table, submissions, sweep_directory
from jobs.records.run_directory import Run
from jobs.records.run_state import State
from jobs.records.status import Status
from jobs.records.sweep_directory import JOBS, PlannedRun
from pianogen.combinations import find_warnings
from pianogen.command import counted
from pianogen.config import flatten
from pianogen.errors import UsageError
from pianogen.store import Store

_log = logging.getLogger(__name__)
_NEW = Status(State.WAITING, "not submitted")
_MAX_DIFFERENCES = 3  # in a message


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of a submission that the user may skip.

    Attributes:
        paths: whether the nodes see the paths.
        models: the smoke test, which takes some seconds of one core.
    """

    paths: bool = True
    models: bool = True


def submit(
    sweep: Path,
    overrides: Sequence[str],
    store_path: Path,
    out: Path,
    cluster: Cluster,
    checks: Checks,
    prune: bool = False,
) -> None:
    """Submits the runs of a sweep that are neither done nor active.

    On Slurm failed runs are left to `resubmit`, so that their reasons are read first.

    Args:
        sweep: the sweep file.
        overrides: key=value, applied to the sweep file.
        out: the directory of the sweep.
        checks: the checks to make.
        prune: remove the runs that the sweep file no longer has, with all of their files.

    Raises:
        UsageError: a check failed, Slurm rejected the jobs, or a job works on a run that would be removed; nothing is written.
        JobError: jobs failed on this machine.
    """
    launch.check_cluster(cluster)
    values = grid.load_sweep(sweep, overrides)
    variations = grid.expand(values, grid.source_of(sweep, overrides))
    out = out.resolve()
    sweep_directory.check_ownership(out)  # before a lock is written to it
    with Store(store_path) as store, submissions.exclusive(out):
        planned, existing = _plan(out, variations, store)
        statuses = status.read_statuses(existing)
        active = [run for run in existing if statuses[run].is_active]
        states = [statuses.get(entry.run, _NEW).state for entry in planned]
        selected = _select(cluster, planned, statuses)
        dropped = _list_dropped(sweep, planned, existing, prune)
        if prune:
            check_idle(dropped, statuses)
        print(f"{out}: {status.count(states)}; {len(selected)} to start", flush=True)

        def write_runs() -> None:
            sweep_directory.write_runs(out, values, planned, store, active)
            if prune:
                sweep_directory.remove_runs(out, dropped)

        if selected:
            _check(cluster, out, store_path, selected, checks, smoke_test_folder=out)
            first, *others = _batches(out, selected)
            start(cluster, [(first, write_runs), *((batch, lambda: None) for batch in others)])
        else:
            write_runs()
            status_table.update(out)
    if cluster == "slurm":
        if State.FAILED in states:
            print(f"failed runs were not queued: see their reasons with status, then run pianogen sweep resubmit {out}")
        print(f"show the status with: pianogen sweep status {out}")


def dry_run(
    sweep: Path,
    overrides: Sequence[str],
    store_path: Path,
    out: Path,
    cluster: Cluster,
    checks: Checks,
    prune: bool = False,
) -> None:
    """Checks a submission and prints its runs and its job script; the parameters are those of `submit`."""
    launch.check_cluster(cluster)
    variations = grid.expand(grid.load_sweep(sweep, overrides), grid.source_of(sweep, overrides))
    out = out.resolve()
    with Store(store_path) as store:
        planned, existing = _plan(out, variations, store)
    selected = _select(cluster, planned, status.read_statuses(existing))
    if selected:
        _check(cluster, out, store_path, selected, checks, smoke_test_folder=None)
    _list_dropped(sweep, planned, existing, prune)
    for entry in planned:
        print(f"{entry.identity[:12]}  {entry.run.name}{'  (new)' if entry.is_new else ''}")
    if cluster == "slurm":
        for batch in _batches(out, selected):
            arrays = slurm.split(batch.preview())
            print(f"\n{slurm.script_text(arrays[0])}")
            if len(arrays) > 1:
                print(f"and {len(arrays) - 1} more of these scripts: the site limits the size of a job array")
    print(f"{counted(len(planned), 'run')}, {len(selected)} to start; nothing was written")


def start(cluster: Cluster, batches: Sequence[tuple[Batch, launch.WriteInputs]]) -> None:
    """Launches training jobs, reports them, updates runs.csv, and queues the notification of their end.

    If the jobs have been executed on this machine, the table of the sweep is printed.

    Args:
        batches: the batches of one sweep, each with the function that writes the files that its jobs read.

    Raises:
        SlurmRefusal: sbatch rejected the first batch; nothing is queued or written.
        JobError: jobs failed on this machine, or sbatch rejected some of the jobs.
    """
    out = batches[0][0].folder.parent
    launched, failures = launch.launch_all(cluster, batches)
    recipients: dict[str, list[str]] = {}
    for batch, jobs in launched:
        if jobs and batch.resources.notify:
            recipients.setdefault(batch.resources.notify, []).extend(jobs)
    for recipient, jobs in recipients.items():
        try:
            launch.notify(recipient, jobs, batches[0][0])
        except (SlurmRefusal, SlurmError) as error:
            failures.append(f"{error}; slurm.notify has no job")
    if cluster == "slurm":
        status_table.update(out)
    else:
        status_table.show(out, as_json=False)
    if failures:
        raise JobError("\n".join(failures))
    if cluster != "slurm":
        print(f"write the samples as MIDI files with: pianogen decode {shlex.quote(str(out))}")
        print(f"then write the report with: pianogen collect {shlex.quote(str(out))} --out collected")


def batches_of(sweep: Path, configs: Mapping[Run, RunConfig]) -> list[tuple[Batch, dict[Run, RunConfig]]]:
    """Training jobs of runs of one sweep, in one batch for each set of resources."""
    groups: dict[str, dict[Run, RunConfig]] = {}
    for run, config in configs.items():
        groups.setdefault(config.slurm.model_dump_json(), {})[run] = config
    batches = []
    for group in groups.values():
        paths = [str(run.path.absolute()) for run in group]
        batches.append((Batch("train", run_job, paths, sweep / JOBS, next(iter(group.values())).slurm), group))
    return batches


def _plan(out: Path, variations: Sequence[Variation], store: Store) -> tuple[list[PlannedRun], list[Run]]:
    """The runs of a submission, and all runs that the sweep has already.

    Raises:
        UsageError: `out` is the directory of another sweep, or the store is not a corpus.
    """
    if store.kind != "corpus":
        raise UsageError(f"{store.path} is a store of {store.kind}; train on a corpus, which pianogen preprocess writes")
    existing = sweep_directory.find_runs(out)
    used_names = submissions.used_names(out / JOBS)
    planned = sweep_directory.plan_runs(out, variations, store.fingerprint, existing, used_names)
    if existing and all(entry.is_new for entry in planned):
        raise UsageError(
            f"{out} is the directory of another sweep: none of its runs ({len(existing)}) has a configuration and a store of "
            f"this sweep; {_describe_difference(planned[0], existing.values(), store)}: use another --out"
        )
    for entry, variation in zip(planned, variations, strict=True):
        if entry.config.sampling != variation.config.sampling:
            print(f"{entry.run.name} keeps the sampling with which it was resubmitted")
    return planned, list(existing.values())


def _describe_difference(planned: PlannedRun, existing: Collection[Run], store: Store) -> str:
    """The settings in which the existing run that is most similar to a planned run differs from that run."""
    settings = flatten(planned.config.result_settings())
    differences: dict[str, list[str]] = {}
    for run in existing:
        provenance = run.read_provenance()
        recorded = flatten(provenance.config)
        others = [
            f"{key} {recorded.get(key)} instead of {value}" for key, value in settings.items() if recorded.get(key) != value
        ]
        if provenance.store.fingerprint != store.fingerprint:
            others.insert(0, f"the store {provenance.store.path} instead of {store.path.resolve()}")
        differences[run.name] = others or ["settings of another version"]
    name, others = min(differences.items(), key=lambda entry: len(entry[1]))
    return f"{name} has {', '.join(others[:_MAX_DIFFERENCES])}"


def _select(cluster: Cluster, planned: Sequence[PlannedRun], statuses: Mapping[Run, Status]) -> list[PlannedRun]:
    """The runs that a submission starts.

    Args:
        statuses: those of the runs that exist.
    """
    startable = (State.WAITING,) if cluster == "slurm" else (State.WAITING, State.FAILED)
    entries = [(entry, statuses.get(entry.run, _NEW)) for entry in planned]
    return [entry for entry, current in entries if current.state in startable and not current.is_active]


def _list_dropped(sweep: Path, planned: Sequence[PlannedRun], existing: Sequence[Run], prune: bool) -> list[Run]:
    """Prints and returns the runs that the sweep file no longer has."""
    dropped = sweep_directory.find_dropped(planned, existing)
    for run in dropped:
        print(f"{run.name} is not in {sweep}" + ("; it will be removed with all of its files" if prune else ""))
    if dropped and not prune:
        print("submit with --prune to remove these runs")
    return dropped


def check_idle(runs: Sequence[Run], statuses: Mapping[Run, Status]) -> None:
    """Refuses to remove runs, or their results, that a job or a process works on.

    Raises:
        UsageError: there is one.
    """
    busy = {run.name for run in runs if statuses[run].is_active or run_processes.find_processes(run)}
    if runs and shutil.which("squeue"):
        busy |= {name for job in submissions.live_jobs(runs) for name in job.runs}  # jobs that draw or decode samples, too
    if busy:
        numbers = " ".join(name.partition("-")[0] for name in sorted(busy))
        raise UsageError(
            f"jobs or processes work on {', '.join(sorted(busy))}, so nothing was removed or submitted; cancel them first: "
            f"pianogen sweep cancel {runs[0].sweep} {numbers}"
        )


def _batches(out: Path, planned: Sequence[PlannedRun]) -> list[Batch]:
    return [batch for batch, _ in batches_of(out, {entry.run: entry.config for entry in planned})]


def _check(
    cluster: Cluster, out: Path, store: Path, planned: Sequence[PlannedRun], checks: Checks, *, smoke_test_folder: Path | None
) -> None:
    configs = [entry.config for entry in planned]
    preflight.check_process(cluster, configs)
    inputs = preflight.check_inputs(store, configs)
    for batch in _batches(out, planned):
        preflight.check_resources(cluster, batch, [store.absolute(), out, *inputs], is_shared=not checks.paths)
    if checks.models:
        preflight.smoke_test_runs(cluster, store, smoke_test_folder, configs)
    for warning in sorted({warning for config in configs for warning in find_warnings(config)}):
        _log.warning(warning)
