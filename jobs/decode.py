"""Decodes samples, or the rolls of any store, to MIDI files, plots and sound files.

pianogen decode runs/quick
pianogen decode corpus.h5 --out corpus-midi
"""

import functools
import logging
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from jobs.configuration.run_config import SlurmConfig
from jobs.execution import launch
from jobs.execution.cores import num_cores
from jobs.execution.launch import Batch, Cluster
from jobs.export import audio
from jobs.export.audio import AudioFormat
from jobs.export.output_folder import JOBS, OutputFolder
from jobs.records import run_processes, status, submissions, sweep_directory
from jobs.records.run_directory import Run
from jobs.records.samples import find_sample_stores
from pianogen import command
from pianogen.command import counted
from pianogen.errors import PianogenError, UsageError
from pianogen.store import Store

_SLURM_CPUS = 4
_TIMEOUT_MIN = 120
_MEMORY_GB = 3  # 200 MB per process, and as much again for the plot of the longest piece
_AUDIO_MEMORY_GB = 6  # 1.3 GB per process for the longest sound file
_log = logging.getLogger("jobs.decode")


def main(arguments: Sequence[str]) -> int:
    """The command `pianogen decode`."""
    parser = command.Parser(
        prog="pianogen decode",
        description="Write a MIDI file and a plot for every sample of a sweep or a run, or for every roll of a store, and an\n"
        "index.csv. Existing files are kept, and a folder with other files is refused. With --audio, also write\n"
        "sound files of a synthesized piano.",
        epilog="examples:\n"
        "  pianogen decode runs/quick\n"
        "  pianogen decode runs/quick --audio\n"
        "  pianogen decode runs/quick --archive --cluster slurm\n"
        "  pianogen decode corpus.h5 --out corpus-midi",
    )
    parser.add_argument("target", type=Path, metavar="runs/NAME|RUN|STORE", help="a sweep directory, one run, or a store")
    parser.add_argument(
        "--out", type=Path, help="the output folder (default: midi/ in each run; for a store, STORE without suffix + -midi/)"
    )
    parser.add_argument(
        "--archive",
        action="store_true",
        help="write one ZIP file per store, for file systems with a quota on the number of files: midi/SAMPLES.zip in each run; "
        "STORE-midi.zip",
    )
    parser.add_argument(
        "--audio",
        action="store_true",
        help="write a sound file beside each MIDI file, of up to 30 minutes; needs pip install '.[audio]'",
    )
    parser.add_argument("--audio-format", choices=list(AudioFormat), help="format of the sound files of --audio (default: wav)")
    parser.add_argument("--cluster", choices=get_args(Cluster), default="local", help="where jobs run (default: local)")
    options = parser.parse(arguments)
    if options.audio_format and not options.audio:
        raise UsageError("--audio-format applies only to --audio; add --audio")
    if options.audio:
        audio.check_installed()
    audio_format = AudioFormat(options.audio_format or AudioFormat.WAV) if options.audio else None
    _decode(options.target, options.out, options.archive, audio_format, options.cluster)
    return 0


def decode_job(
    path: str,
    outputs: Mapping[str, str],
    archive: bool = False,
    max_processes: int = 1,
    audio_format: AudioFormat | None = None,
) -> None:
    """Decodes one store, or all stores of samples that a run has when the job starts.

    Args:
        path: a store, or the directory of a run.
        outputs: the output folder of each path; with `archive`, the ZIP file of a store.
        archive: whether to write one ZIP file per store.
        max_processes: limit of the number of processes.
        audio_format: of the sound files; None for no sound files.

    Raises:
        StoreError: a store cannot be read.
        LockError: another process decodes the run to its own folder.
        PianogenError: the run has no samples, or the names of pieces cannot be file names.
    """
    target, out = Path(path), Path(outputs[path])
    with ExitStack() as held:
        if out == _own_folder(Run(target)):
            held.enter_context(run_processes.writing(Run(target), "midi", f"{out} is being written"))
        _write(target, out, archive, max_processes, audio_format)


def _write(target: Path, out: Path, archive: bool, max_processes: int, audio_format: AudioFormat | None) -> None:
    from jobs.export import midi_files  # imports music21, which the submitting command does not need

    stores = find_sample_stores(Run(target)) if target.is_dir() else [target]
    if not stores:
        raise PianogenError(f"{target} has no samples; see pianogen sweep status {target.parent}")
    if not archive:
        midi_files.write_folder(stores, _output_folder(out, target), max_processes, audio_format)
        return
    if target.is_dir():
        _output_folder(out, target).claim()
    for store in stores:
        target_file = out / f"{store.stem}.zip" if target.is_dir() else out
        midi_files.write_archive(store, target_file, max_processes, audio_format)


def _output_folder(out: Path, target: Path) -> OutputFolder:
    """The output folder of a run, whose identity changes with the sampling that it is resubmitted with, or of a store."""
    if target.is_dir():
        provenance = Run(target).read_provenance()
        sources = [f"the run with identity {identity}" for identity in (provenance.identity, *provenance.former_identities)]
        return OutputFolder(out, sources[0], sources[1:])
    with Store(target) as store:
        return OutputFolder(out, f"the store with fingerprint {store.fingerprint}")


def _decode(target: Path, out: Path | None, archive: bool, audio_format: AudioFormat | None, cluster: Cluster) -> None:
    launch.check_cluster(cluster)
    if not target.exists():
        raise UsageError(f"{target} does not exist; give the path of a sweep, a run or a store")
    runs = [] if target.is_file() else sweep_directory.open_runs(target)
    live_jobs = submissions.live_jobs(runs) if runs and cluster == "slurm" else []
    outputs = (
        _run_outputs(runs, out, {name for job in live_jobs for name in job.runs}) if runs else _store_output(target, out, archive)
    )
    if not outputs:
        raise UsageError(f"no run of {target} has samples; draw some with pianogen sample, or see pianogen sweep status {target}")
    _claim_folders(runs, outputs, out, archive)
    cpus = _cpus_per_job(cluster, len(outputs))
    function = functools.partial(decode_job, outputs=outputs, archive=archive, max_processes=cpus, audio_format=audio_format)
    resources = _resources(runs, cpus, _AUDIO_MEMORY_GB if audio_format else _MEMORY_GB)
    folder = _jobs_folder(runs, outputs, out, archive)
    is_temporary = cluster == "local" and out is not None and bool(runs)
    if is_temporary:
        folder.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="decode-", dir=folder))  # other commands may write to the same --out
    batch = Batch("decode", function, list(outputs), folder, resources, [job.id for job in live_jobs])
    jobs = launch.launch("debug" if not runs and cluster == "local" else cluster, batch)
    if jobs:
        after = f"; they start after {counted(len(live_jobs), 'other job')}" if live_jobs else ""
        print(f"queued {counted(len(jobs), 'job')}: {jobs[0]} to {jobs[-1]}{after}")
    elif is_temporary:
        shutil.rmtree(folder, ignore_errors=True)
        submissions.remove_empty([folder.parent])
    for path, output in outputs.items():
        print(f"{path} -> {output}")


def _claim_folders(runs: Sequence[Run], outputs: Mapping[str, str], out: Path | None, archive: bool) -> None:
    """Checks all output folders before any job starts, and marks the folder --out.

    Raises:
        UsageError: a folder has other files.
    """
    folders = [_output_folder(Path(output), Path(path)) for path, output in outputs.items() if runs or not archive]
    if runs and out is not None:
        OutputFolder(out, f"the decoded sweep {runs[0].sweep}").claim()
    elif not runs and folders:
        folders[0].claim()


def _jobs_folder(runs: Sequence[Run], outputs: Mapping[str, str], out: Path | None, archive: bool) -> Path:
    """The folder of scripts, pickles and output of the jobs: below --out, which holds everything that is written."""
    if out is not None:
        return out.resolve() / JOBS
    if runs:
        return runs[0].sweep / sweep_directory.JOBS
    (output,) = map(Path, outputs.values())
    return output.with_suffix(".jobs") if archive else output / JOBS


def _store_output(store: Path, out: Path | None, archive: bool) -> dict[str, str]:
    """The output folder or ZIP file of a store, by its path."""
    name = f"{store.stem}-midi"
    output = (out or store.parent) / f"{name}.zip" if archive else out or store.with_name(name)
    return {str(store.resolve()): str(output.resolve())}


def _run_outputs(runs: Sequence[Run], out: Path | None, names_of_live_runs: Collection[str]) -> dict[str, str]:
    """The output folders by path of the run, for runs that have samples or will have them when the decoding job starts.

    Args:
        names_of_live_runs: of runs with queued or running jobs; the decoding job starts after those.
    """
    decoded = [run for run in runs if find_sample_stores(run) or run.name in names_of_live_runs]
    skipped = [run for run in runs if run not in decoded]
    for run, entry in status.read_statuses(skipped).items():
        _log.warning("%s is %s and has no samples; it is skipped", run.path, entry.state)
    return {str(run.path): str((out / run.name).resolve() if out else _own_folder(run)) for run in decoded}


def _own_folder(run: Run) -> Path:
    return (run.path / "midi").resolve()


def _resources(runs: Sequence[Run], cpus: int, memory_gb: int) -> SlurmConfig:
    """The resources of a decoding job, on the partition that the sweep configures for jobs without a GPU."""
    configured = runs[0].read_config().slurm if runs else SlurmConfig()
    return configured.without_gpus(timeout_min=_TIMEOUT_MIN, cpus_per_task=cpus, memory_gb=memory_gb)


def _cpus_per_job(cluster: Cluster, num_jobs: int) -> int:
    """The number of cores per job; jobs on this machine share its cores."""
    if cluster == "local":
        return max(1, num_cores() // num_jobs)
    return _SLURM_CPUS if cluster == "slurm" else 1


if __name__ == "__main__":
    sys.exit(command.run(main))
