"""Collects the MIDI files of a sweep in one folder, with an index and a report.

python -m jobs.collect runs/quick --out collected
"""

import logging
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from jobs.export import index
from jobs.export.output_folder import OutputFolder, read_fingerprints
from jobs.records import sweep_directory
from jobs.records.run_directory import Run
from jobs.records.samples import find_sample_stores, read_parameters
from jobs.report import page
from jobs.report.corpora import Corpora
from jobs.report.figures import RunSamples, Sample, SampleSet
from jobs.report.roll_text import encode_roll
from pianogen import atomic, command
from pianogen.command import counted
from pianogen.errors import PianogenError, UsageError
from pianogen.evaluation.sample_metrics import measure
from pianogen.store import Store

_log = logging.getLogger("jobs.collect")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.collect`."""
    parser = command.Parser(
        prog="python -m jobs.collect",
        description="Copy the decoded MIDI files of a sweep to one folder per run, and write index.csv (the sampling\n"
        "parameters and metrics of every sample) and report.html (a table of the runs, their learning curves,\n"
        "and every sample as a piano roll that the page plays). A folder with other files is refused; MIDI files\n"
        "that the sweep no longer has are removed.",
        epilog="example:\n  python -m jobs.collect runs/quick --out collected",
    )
    parser.add_argument("sweep", type=Path, metavar="runs/NAME", help="the sweep directory")
    parser.add_argument("--out", type=Path, required=True, help="the output folder")
    options = parser.parse(arguments)
    _collect(options.sweep, options.out)
    return 0


def _collect(sweep: Path, out: Path) -> None:
    folder = OutputFolder(out, f"the sweep {sweep.resolve()}")
    files: dict[str, bytes] = {}
    corpora = Corpora()
    samples_of_runs = [
        RunSamples(run, [_collect_store(run, path, files, corpora) for path in find_sample_stores(run)])
        for run in sweep_directory.open_runs(sweep)
    ]
    samples = [sample for run in samples_of_runs for sample_set in run.sets for sample in sample_set.samples]
    if not samples:
        raise UsageError(f"{sweep} has no MIDI files; decode its samples first: python -m jobs.decode {sweep}")
    rows = [{"file": sample.file} | asdict(sample.parameters) | asdict(sample.metrics) for sample in samples]
    files["index.csv"] = index.index_text(rows).encode()
    # The name of a folder may hold bytes that are not valid UTF-8.
    files["report.html"] = page.render(sweep.resolve().name, samples_of_runs).encode(errors="backslashreplace")
    folder.begin({}, dict.fromkeys(files, ""))
    for name, content in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(out / name, content)
    counts = f"{counted(len(samples), 'MIDI file')} of {counted(len(samples_of_runs), 'run')}"
    print(f"{counts} in {out}; open {out / 'report.html'}")


def _collect_store(run: Run, path: Path, collected: dict[str, bytes], corpora: Corpora) -> SampleSet:
    """Adds the decoded MIDI files of a store of samples, by path below the output folder."""
    samples, rolls = [], []
    with Store(path) as store:
        names = index.midi_names(store)
        files = _read_decoded(run.path / "midi", path, store.fingerprint, names)
        parameters = [replace(entry, run=run.name) for entry in read_parameters(store)]  # the run may have been renamed
        for number, name in enumerate(names):
            if name not in files:
                continue
            file = f"{run.name}/{name}"
            collected[file] = files[name]
            roll = store.roll(number)
            rolls.append(roll)
            samples.append(Sample(store.pieces.name[number], file, parameters[number], encode_roll(roll), measure(roll)))
    if len(samples) < len(names):
        num_missing = len(names) - len(samples)
        _log.warning(
            "%s: %d of %d samples are not decoded; run python -m jobs.decode %s", path, num_missing, len(names), run.path
        )
    return SampleSet(parameters[0], samples, corpora.compare(run, rolls) if rolls else None)


def _read_decoded(folder: Path, store: Path, fingerprint: str, names: Sequence[str]) -> dict[str, bytes]:
    """The MIDI files of a store as content by file name, read from the folder or from the archive of the store.

    Those of an earlier store of the same name, which was replaced since, are left out.
    """
    files: dict[str, bytes] = {}
    if read_fingerprints(folder).get(store.name) == fingerprint:
        files |= {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    path = folder / f"{store.stem}.zip"
    if path.is_file():
        try:
            with ZipFile(path) as archive:
                if archive.comment.decode(errors="replace") == fingerprint:
                    files |= {name: archive.read(name) for name in set(names) & set(archive.namelist())}
        except (BadZipFile, zlib.error) as error:
            raise PianogenError(f"{path} is damaged ({error}); remove it and decode the run again") from error
    return files


if __name__ == "__main__":
    sys.exit(command.run(main))
