"""Collects the MIDI files of a sweep in one folder, with an index and a report.

pianogen collect runs/quick --out collected
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from jobs.export import index
from jobs.export.archive import opened_archive
from jobs.export.output_folder import OutputFolder, read_fingerprints
from jobs.listening import page as listening_page
from jobs.listening.draw import ListeningTest, draw
from jobs.listening.key import Mode
from jobs.records import sweep_directory
from jobs.records.run_directory import Run
from jobs.records.samples import SAMPLES, find_sample_stores, read_memorization, read_parameters
from jobs.report import page
from jobs.report.corpora import Corpora
from jobs.report.figures import RunSamples, Sample, SampleSet
from pianogen import atomic, command
from pianogen.command import counted
from pianogen.errors import UsageError
from pianogen.evaluation.sample_metrics import measure
from pianogen.roll_text import encode_roll
from pianogen.store import Store

_LISTENING_PAGE, _KEY = "listening-test.html", "listening-test.key.json"
_log = logging.getLogger("jobs.collect")


def main(arguments: Sequence[str]) -> int:
    """The command `pianogen collect`."""
    parser = command.Parser(
        prog="pianogen collect",
        description="Copy the decoded MIDI files of a sweep to one folder per run, and write index.csv (the sampling\n"
        "parameters and metrics of every sample) and report.html (tables and plots of the runs, which can be\n"
        "filtered, and every sample as a piano roll that the page plays). A folder with other files is refused;\n"
        "MIDI files that the sweep no longer has are removed. With --listening-test, also write\n"
        "listening-test.html, in which listeners judge excerpts of samples and of held-out pieces without their\n"
        "names, and its key.",
        epilog="example:\n  pianogen collect runs/quick --out collected --listening-test 20",
    )
    parser.add_argument("sweep", type=Path, metavar="runs/NAME", help="the sweep directory")
    parser.add_argument("--out", type=Path, required=True, help="the output folder")
    listening = parser.add_argument_group("listening test")
    listening.add_argument(
        "--listening-test",
        type=command.positive_int,
        metavar="N",
        help="also write a page with N excerpts, half of them of the corpus, or with N pairs",
    )
    listening.add_argument(
        "--listening-mode",
        choices=list(Mode),
        help="whether listeners judge single excerpts, or pairs of a sample and an excerpt of the corpus (default: single)",
    )
    listening.add_argument(
        "--listening-runs",
        type=command.natural_number,
        nargs="+",
        metavar="NUMBER",
        help="the numbers of the runs in the test (default: all)",
    )
    listening.add_argument(
        "--listening-seed", type=command.natural_number, metavar="SEED", help="seed of the draw and of the order (default: 0)"
    )
    options = parser.parse(arguments)
    for name in ("listening_mode", "listening_runs", "listening_seed"):
        if getattr(options, name) is not None and options.listening_test is None:
            raise UsageError(f"--{name.replace('_', '-')} applies only with --listening-test N; add it")
    test = None
    if options.listening_test is not None:
        runs, mode = _choose_runs(options.sweep, options.listening_runs), Mode(options.listening_mode or Mode.SINGLE)
        test = draw(runs, options.listening_test, options.listening_seed or 0, mode)
    _collect(options.sweep, options.out, test)
    return 0


def _choose_runs(sweep: Path, numbers: Sequence[int] | None) -> list[Run]:
    """The runs with these numbers, or all runs of a sweep."""
    runs = sweep_directory.open_runs(sweep)
    known = sorted(run.number for run in runs if run.number is not None)
    if unknown := set(numbers or ()).difference(known):
        raise UsageError(
            f"--listening-runs {min(unknown)}: {sweep} has no such run, found {', '.join(map(str, known))}; correct the number"
        )
    return [run for run in runs if numbers is None or run.number in numbers]


def _listening_files(out: Path, test: ListeningTest | None) -> dict[str, bytes]:
    """The page and the key of a listening test, or those that the folder has.

    Raises:
        UsageError: the folder has another test, whose answers could not be evaluated without its key.
    """
    key = out / _KEY
    if test is None:
        return {name: (out / name).read_bytes() for name in (_LISTENING_PAGE, _KEY) if (out / name).is_file()}
    if key.is_file() and key.read_bytes() != test.key.to_json():
        raise UsageError(f"{key} is the key of another listening test; move it and its page away, or choose another --out")
    return {_LISTENING_PAGE: listening_page.render(test).encode(), _KEY: test.key.to_json()}


def _collect(sweep: Path, out: Path, test: ListeningTest | None) -> None:
    folder = OutputFolder(out, f"the sweep {sweep.resolve()}")
    files = _listening_files(out, test)
    corpora = Corpora()
    samples_of_runs = [
        RunSamples(run, [_collect_store(run, path, files, corpora) for path in find_sample_stores(run)])
        for run in sweep_directory.open_runs(sweep)
    ]
    samples = [sample for run in samples_of_runs for sample_set in run.sets for sample in sample_set.samples]
    if not samples:
        raise UsageError(f"{sweep} has no MIDI files; decode its samples first: pianogen decode {sweep}")
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
    if test is not None:
        key = out / _KEY
        print(
            f"{test.key.contents} in {out / _LISTENING_PAGE}; give listeners this file, and keep {key} for "
            "pianogen listening-results"
        )


def _collect_store(run: Run, path: Path, collected: dict[str, bytes], corpora: Corpora) -> SampleSet:
    """Adds the decoded MIDI files of a store of samples, by path below the output folder."""
    samples, rolls = [], []
    memorization = read_memorization(run, path)
    passages = memorization.samples if memorization else []
    with Store(path) as store:
        names = index.midi_names(store)
        if memorization and len(passages) != len(names):
            raise UsageError(
                f"{path} has {counted(len(names), 'sample')}, and the record of their passages {len(passages)}: another program "
                "replaced it; restore it, or remove it and draw the samples again"
            )
        files = _read_decoded(run.path / "midi", path, store.fingerprint, names)
        parameters = [replace(entry, run=run.name) for entry in read_parameters(store)]  # the run may have been renamed
        for number, name in enumerate(names):
            if name not in files:
                continue
            file = f"{run.name}/{name}"
            collected[file] = files[name]
            roll = store.roll(number)
            rolls.append(roll)
            title, passage = store.pieces.name[number], passages[number] if passages else None
            samples.append(Sample(title, file, parameters[number], encode_roll(roll), measure(roll), passage))
    if len(samples) < len(names):
        num_missing = len(names) - len(samples)
        samples_are = counted(len(names), "sample", "are")
        _log.warning("%s: %d of %s not decoded; run pianogen decode %s", path, num_missing, samples_are, run.path)
    comparison = corpora.compare(run, rolls) if rolls else None
    return SampleSet(path.name == SAMPLES, parameters[0], samples, comparison, memorization)


def _read_decoded(folder: Path, store: Path, fingerprint: str, names: Sequence[str]) -> dict[str, bytes]:
    """The MIDI files of a store as content by file name, read from the folder or from the archive of the store.

    Those of an earlier store of the same name, which was replaced since, are left out.
    """
    files: dict[str, bytes] = {}
    if read_fingerprints(folder).get(store.name) == fingerprint:
        files |= {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    path = folder / f"{store.stem}.zip"
    if path.is_file():
        with opened_archive(path) as archive:
            if archive.comment.decode(errors="replace") == fingerprint:
                files |= {name: archive.read(name) for name in set(names) & set(archive.namelist())}
    return files


if __name__ == "__main__":
    sys.exit(command.run(main))
