"""A sweep: its runs submitted, looked at, submitted again, cancelled.

python -m jobs.sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --cluster local training.epochs=3
python -m jobs.sweep status runs/quick
"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from jobs.cluster import slurm
from jobs.cluster.slurm import Array, SlurmRefusal
from jobs.configuration import grid, run_config
from jobs.configuration.grid import Variation
from jobs.configuration.run_config import RunConfig, SlurmConfig
from jobs.execution import launch, preflight
from jobs.execution.launch import Cluster, JobError
from jobs.execution.run_job import run_job
from jobs.records import run_directory, status, status_table, submissions
from jobs.records.run_directory import Changes, Run
from pianogen import command
from pianogen.config import ConfigError
from pianogen.errors import UsageError
from pianogen.store import Store

_ACTIONS = ("submit", "status", "resubmit", "cancel")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.sweep`."""
    parser = command.Parser(
        prog="python -m jobs.sweep",
        description="submit    check every run of a sweep, make its directory, and queue them\n"
        "status    a table of what waits, runs, is done or failed, and why\n"
        "resubmit  say why runs have not ended, and queue those that are neither queued nor running\n"
        "cancel    end what is queued or runs; it goes on where it was when submitted again",
        epilog="examples:\n"
        "  python -m jobs.sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --dry-run\n"
        "  python -m jobs.sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --cluster local training.epochs=3\n"
        "  python -m jobs.sweep status runs/quick --watch\n"
        "  python -m jobs.sweep resubmit runs/quick slurm.memory_gb=32",
    )
    parser.add_argument("action", choices=_ACTIONS, metavar="|".join(_ACTIONS))
    parser.add_argument("target", type=Path, metavar="SWEEP.yaml|runs/NAME", help="submit: the sweep; else: its directory")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="submit: laid over the sweep; resubmit: over how its runs are run, such as slurm.timeout_min=480",
    )
    parser.add_argument("--store", type=Path, help="submit: the corpus to train on")
    parser.add_argument("--out", type=Path, metavar="runs/NAME", help="submit: the sweep's directory")
    parser.add_argument("--cluster", choices=get_args(Cluster), default="slurm", help="submit, resubmit: where (default: slurm)")
    parser.add_argument("--dry-run", action="store_true", help="submit: check, print the runs and the script, write nothing")
    parser.add_argument("--shared", action="store_true", help="submit: the nodes do see these paths, whatever it looks like")
    parser.add_argument("--json", action="store_true", help="status: print JSON, for programs")
    parser.add_argument("--watch", action="store_true", help="status: again every 15 s, as long as anything is queued or runs")
    options = parser.parse(arguments)
    if options.action == "status":
        return status_table.watch(options.target) if options.watch else status_table.show(options.target, options.json)
    if options.action == "resubmit":
        return _resubmit(options)
    if options.action == "cancel":
        return _cancel(options.target)
    if options.store is None or options.out is None:
        parser.error("submit needs --store and --out")
    return _submit(options)


def _submit(options: argparse.Namespace) -> int:
    launch.check(options.cluster)
    values = grid.load_sweep(options.target, options.overrides)
    variations = grid.expand(values, options.target)
    with Store(options.store) as store:
        known = run_directory.identities(options.out)
        is_done = {identity for identity, path in known.items() if Run(path).read_result() is not None}
        new = [each for each in variations if each.config.identity(store.fingerprint) not in is_done]
        if new:
            _check(options, new)
        if options.dry_run:
            _print_plan(options, variations, store.fingerprint, known)
            return 0
        with submissions.alone(options.out):
            _start(options, values, variations, store)
    return 0


def _start(options: argparse.Namespace, values: dict[str, Any], variations: Sequence[Variation], store: Store) -> None:
    """Makes the directories of the runs and starts those that wait; after a refusal all is as it was."""
    here = [Run(path) for path in run_directory.identities(options.out).values()]
    live = [run for run, found in zip(here, status.look(here), strict=True) if found.is_queued_or_running]
    taken = submissions.named(options.out / "jobs")
    prepared = run_directory.prepare_runs(options.out, values, variations, store, live, taken)
    try:
        # Who works in the foreground has seen why a run failed, and says the same command again to try it anew.
        only: Sequence[status.State] = ("waiting",) if options.cluster == "slurm" else ("waiting", "failed")
        _queue(options, dict.fromkeys(prepared.runs, variations[0].config.slurm), only)
    except SlurmRefusal:
        prepared.undo()
        raise


def _check(options: argparse.Namespace, variations: Sequence[Variation]) -> None:
    replicas = max(each.config.logical_devices * max(1, each.config.slurm.gpus_per_node) for each in variations)
    if options.cluster == "debug" and replicas > 1 and len(variations) > 1:
        raise UsageError(
            f"{len(variations)} runs of {replicas} replicas cannot follow each other in one process: TensorFlow keeps what it "
            "set up for the first; say --cluster local"
        )
    ask = variations[0].config.slurm
    array = _array(options.out, [each.label for each in variations], ask)
    preflight.check_place(options.cluster, array, [options.store.absolute(), options.out.absolute()], options.shared)
    preflight.check_models(options.store, [each.config for each in variations])


def _array(out: Path, names: Sequence[str], ask: SlurmConfig) -> Array:
    """The array that a submission queues, as far as it can be known before."""
    jobs = out.absolute() / "jobs"
    return Array(out.name, run_job, names, jobs / "0000-train", jobs / "code", ask, ask.max_parallel)


def _print_plan(options: argparse.Namespace, variations: Sequence[Variation], fingerprint: str, known: dict[str, Path]) -> None:
    for variation in variations:
        identity = variation.config.identity(fingerprint)
        print(f"{identity[:12]}  {known[identity].name if identity in known else variation.label + '  (new)'}")
    if options.cluster == "slurm":
        arrays = slurm.split(_array(options.out, [each.label for each in variations], variations[0].config.slurm))
        print(f"\n{slurm.text_of(arrays[0])}")
        if len(arrays) > 1:
            print(f"and {len(arrays) - 1} more like it: the site limits the size of an array")
    print(f"{len(variations)} runs; nothing was written")


def _queue(options: argparse.Namespace, asks: Mapping[Run, SlurmConfig], only: Sequence[status.State]) -> None:
    """Starts those runs that are in one of these states and have no job, each with what it asks for."""
    found = dict(zip(asks, status.look(list(asks)), strict=True))
    todo = [run for run in asks if found[run].state in only and not found[run].is_queued_or_running]
    out = next(iter(asks)).path.parent
    print(f"{out}: {status.count([each.state for each in found.values()])}; {len(todo)} to start", flush=True)
    groups: dict[SlurmConfig, list[Run]] = {}
    for run in todo:
        groups.setdefault(asks[run], []).append(run)
    try:
        for ask, group in groups.items():
            paths = [str(run.path.absolute()) for run in group]
            jobs = launch.launch(options.cluster, run_job, paths, out / "jobs", ask, "train")
            if jobs:
                print(f"queued {len(jobs)} jobs: {jobs[0]} to {jobs[-1]}")
    except JobError:
        status_table.write(out, status_table.read(out))
        raise
    status_table.write(out, status_table.read(out))
    if any(each.state == "failed" for each in found.values()) and "failed" not in only:
        print(f"those that failed are left: see why with status, and queue them with python -m jobs.sweep resubmit {out}")
    if options.cluster == "slurm":
        print(f"see them with: python -m jobs.sweep status {out}")


def _resubmit(options: argparse.Namespace) -> int:
    launch.check(options.cluster)
    runs = run_directory.open_runs(options.target)
    with submissions.alone(runs[0].path.parent):
        _start_again(options, runs)
    return 0


def _start_again(options: argparse.Namespace, runs: Sequence[Run]) -> None:
    """Starts what has not ended and has no job, after saying why it has not."""
    run_directory.identities(runs[0].path.parent)  # refuses copies of runs
    unfinished = []
    for run, found in zip(runs, status.look(runs), strict=True):
        if found.state != "done":
            print(f"{run.name}: {found.state}" + (f": {found.reason}" if found.reason else ""))
            if not found.is_queued_or_running:
                unfinished.append(run)
    if not unfinished:
        print("nothing to start")
        return
    changed = [_changed(run, options.overrides) for run in unfinished]
    array = _array(options.target, [run.name for run in unfinished], changed[0].slurm)
    preflight.check_place(options.cluster, array, [options.target.absolute()], is_shared=True)
    changes = Changes()
    for run, content in zip(unfinished, changed, strict=True):
        changes.write_config(run, content)
    asks = {run: content.slurm for run, content in zip(unfinished, changed, strict=True)}
    try:
        _queue(options, asks, only=("waiting", "failed"))
    except SlurmRefusal:
        changes.undo()
        raise


def _changed(run: Run, overrides: Sequence[str]) -> RunConfig:
    """A run's configuration with what the command line changes of how it is run.

    Raises:
        ConfigError: it would change the result.
    """
    before = run.read_config()
    after = run_config.parse(grid.override(before.model_dump(mode="json"), overrides), str(run.path / "config.yaml"))
    if after.identity("") != before.identity(""):
        raise ConfigError(
            f"{' '.join(overrides)} would change the result of {run.name}; that is another run: submit it with the sweep. "
            "How a run is run can be changed: slurm, checkpoints, device, local_copy"
        )
    return after


def _cancel(out: Path) -> int:
    runs = run_directory.open_runs(out)
    if not (out / "config.yaml").is_file():  # the whole sweep
        submissions.cancel(runs[0].path.parent / "jobs")
    if live := submissions.live_jobs(runs):
        slurm.cancel(live)
    owners = {run: owner for run in runs if (owner := status.find_process(run))}
    here = [owner.pid for owner in owners.values() if owner.is_on_this_machine]
    for pid in here:
        os.kill(pid, signal.SIGTERM)
    print(f"{len(live)} jobs and {len(here)} processes of this machine were told to end; status says when they have")
    for run, owner in owners.items():
        if not owner.is_on_this_machine:
            print(f"{run.name} is being trained by process {owner.pid} of {owner.host}: end it there")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
