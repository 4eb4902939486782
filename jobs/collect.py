"""Every MIDI file of a sweep in one folder, with an index and a report to look at.

python -m jobs.collect runs/quick --out collected
"""

import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from jobs.decode import find_samples
from jobs.export import midi_files
from jobs.records import sweep_directory
from jobs.records.run_directory import Run
from jobs.report import page
from jobs.report.page import Entry, Sample, SampleSet
from pianogen import atomic, command
from pianogen.errors import PianogenError, UsageError
from pianogen.evaluation.sample_metrics import measure
from pianogen.store import Store


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.collect`."""
    parser = command.Parser(
        prog="python -m jobs.collect",
        description="Copy every decoded MIDI file of a sweep into one folder, by run, and write index.csv and report.html:\n"
        "its runs in a table, their curves over each other, and what they wrote as pictures.",
        epilog="example:\n  python -m jobs.collect runs/quick --out collected",
    )
    parser.add_argument("sweep", type=Path, metavar="runs/NAME", help="the sweep's directory")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    options = parser.parse(arguments)
    runs = sweep_directory.open_runs(options.sweep)
    rows: list[dict[str, Any]] = []
    entries = []
    for run in runs:
        sets = []
        for path in find_samples(run):
            found, samples = _collect_store(run, path, options.out)
            rows += found
            sets.append(samples)
        entries.append(Entry(run, sets))
    if not rows:
        raise UsageError(f"{options.sweep} has no MIDI yet; decode it first: python -m jobs.decode {options.sweep}")
    atomic.write_text(options.out / "index.csv", midi_files.index_text(rows))
    # A folder's name may hold bytes that are no text.
    html = page.render(options.sweep.resolve().name, entries).encode(errors="backslashreplace")
    atomic.write_bytes(options.out / "report.html", html)
    print(f"{len(rows)} MIDI files of {len(runs)} runs in {options.out}; open {options.out / 'report.html'}")
    return 0


def _collect_store(run: Run, path: Path, out: Path) -> tuple[list[dict[str, Any]], SampleSet]:
    """Copies the decoded files of one store of samples; a row of the index for each, and what the report shows."""
    rows, samples = [], []
    with Store(path) as store:
        names = midi_files.file_names(store)
        decoded = _read_decoded(run.path / "midi", path.stem, names)
        drawn = midi_files.index_rows(store, names)
        for index, name in enumerate(names):
            if name not in decoded:
                continue
            target = out / run.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(target, decoded[name])
            metrics = measure(store.roll(index))
            file = f"{run.name}/{name}"
            rows.append({**drawn[index], "file": file, "run": run.name, **asdict(metrics)})
            samples.append(Sample(store.pieces.name[index], file, decoded.get(midi_files.picture_name(name), b""), metrics))
    if len(samples) < len(names):
        print(f"{path}: {len(names) - len(samples)} of {len(names)} samples are not decoded; python -m jobs.decode {run.path}")
    return rows, SampleSet(drawn[0], samples)


def _read_decoded(folder: Path, stem: str, names: Sequence[str]) -> dict[str, bytes]:
    """Those MIDI files and pictures of a store that are there, in the folder or in the store's archive."""
    wanted = [*names, *map(midi_files.picture_name, names)]
    found = {name: (folder / name).read_bytes() for name in wanted if (folder / name).is_file()}
    archive = folder / f"{stem}.zip"
    if archive.is_file():
        try:
            with ZipFile(archive) as opened:
                found |= {name: opened.read(name) for name in set(wanted) & set(opened.namelist())}
        except (BadZipFile, zlib.error) as error:
            raise PianogenError(f"{archive} is damaged ({error}); remove it and decode the run again") from error
    return found


if __name__ == "__main__":
    sys.exit(command.run(main))
