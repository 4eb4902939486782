"""Samples, or any store, to MIDI files with a picture of each.

python -m jobs.decode runs/quick
python -m jobs.decode corpus.h5 --out corpus-midi
"""

import functools
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import get_args

from jobs.configuration.run_config import SlurmConfig
from jobs.execution import launch
from jobs.execution.launch import Batch, Cluster
from jobs.records import status, submissions, sweep_directory
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.errors import PianogenError, UsageError

_SLURM_CPUS = 4
_TIMEOUT_MIN = 120
_MEMORY_GB = 3  # 200 MB a process; the picture of the longest piece takes as much again


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.decode`."""
    parser = command.Parser(
        prog="python -m jobs.decode",
        description="Write a MIDI file and a picture of every roll of a sweep's samples, a run's, or a store's,\n"
        "and an index.csv of them. What is there is kept.",
        epilog="examples:\n  python -m jobs.decode runs/quick\n  python -m jobs.decode corpus.h5 --archive",
    )
    parser.add_argument("target", type=Path, metavar="runs/NAME|RUN|STORE", help="a sweep, one run, or a store")
    parser.add_argument("--out", type=Path, help="folder (default: midi/ in each run; STORE without suffix + -midi/)")
    parser.add_argument(
        "--archive",
        action="store_true",
        help="write one ZIP file of each store instead, where files are counted: midi/SAMPLES.zip in each run; STORE-midi.zip",
    )
    parser.add_argument("--cluster", choices=get_args(Cluster), default="local", help="where it runs (default: local)")
    options = parser.parse(arguments)
    launch.check_cluster(options.cluster)
    runs = [] if options.target.is_file() else sweep_directory.open_runs(options.target)
    live = submissions.live_jobs(runs) if runs and options.cluster == "slurm" else {}
    outs = _find_outs(options.target, runs, options.out, options.archive, set(live.values()))
    cpus = _cpus(options.cluster, len(outs))
    decode = functools.partial(
        decode_job, outs={path: str(out.resolve()) for path, out in outs.items()}, archive=options.archive, processes=cpus
    )
    folder = runs[0].path.parent / "jobs" if runs else options.target.with_suffix(".jobs")
    jobs = launch.launch(options.cluster, Batch("decode", decode, list(outs), folder, _ask(runs, cpus), live))
    if jobs:
        print(f"queued {len(jobs)} jobs: {jobs[0]} to {jobs[-1]}" + (f", after {len(live)} others" if live else ""))
    for path, out in outs.items():
        print(f"{path} -> {out}")
    return 0


def decode_job(path: str, outs: dict[str, str], archive: bool = False, processes: int = 1) -> None:
    """Writes the files of one store, or of all samples that a run has by now.

    Args:
        path: a store, or a run's directory.
        outs: by path, the folder its files go to; for a store, the archive itself.
        archive: one ZIP file of each store.
        processes: the most to work in.

    Raises:
        StoreError: a store cannot be read.
        PianogenError: the run has no samples, or a store's pieces have names that no folder can have.
    """
    from jobs.export import midi_files  # music21 and all it takes, in the job only

    target, out = Path(path), Path(outs[path])
    stores = find_samples(Run(target)) if target.is_dir() else [target]
    if not stores:
        raise PianogenError(f"{target} has no samples; see python -m jobs.sweep status {target.parent}")
    if not archive:
        midi_files.write_folder(stores, out, processes)
        return
    for store in stores:
        midi_files.write_archive(store, out / f"{store.stem}.zip" if target.is_dir() else out, processes)


def find_samples(run: Run) -> list[Path]:
    """The stores of a run's samples; what a killed writer has left is none."""
    found = [path for path in run.path.glob("samples*.h5") if ".h5.tmp-" not in path.name]
    return sorted(found, key=lambda path: path.stem)  # those it ended with first


def _find_outs(target: Path, runs: Sequence[Run], out: Path | None, archive: bool, awaited: Collection[str]) -> dict[str, Path]:
    """Each run or store with where its files go.

    Args:
        awaited: names of runs that jobs are queued for, or running: they have samples when those have ended.
    """
    if not runs:
        name = target.stem + "-midi"
        return {str(target.resolve()): (out or target.parent) / f"{name}.zip" if archive else out or target.with_name(name)}
    found = {}
    for run, each in status.read_statuses(runs).items():
        if find_samples(run) or run.name in awaited:
            found[str(run.path.resolve())] = out / run.name if out else run.path / "midi"
        else:
            print(f"{run.path} is {each.state}: it has no samples")
    if not found:
        raise UsageError(
            f"no run of {target} has samples; see python -m jobs.sweep status, or draw some with python -m jobs.sample"
        )
    return found


def _ask(runs: Sequence[Run], cpus: int) -> SlurmConfig:
    """What a job asks for: where the sweep says that jobs without a GPU go."""
    site = runs[0].read_config().slurm if runs else SlurmConfig()
    return SlurmConfig(
        partition=site.cpu_partition,
        account=site.account,
        timeout_min=_TIMEOUT_MIN,
        cpus_per_task=cpus,
        memory_gb=_MEMORY_GB,
        max_parallel=site.max_parallel,
    )


def _cpus(cluster: Cluster, num_jobs: int) -> int:
    """Cores of each job; the jobs of this machine share what it has."""
    if cluster == "local":
        return max(1, len(os.sched_getaffinity(0)) // num_jobs)
    return _SLURM_CPUS if cluster == "slurm" else 1


if __name__ == "__main__":
    sys.exit(command.run(main))
