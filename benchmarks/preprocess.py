"""The complete preprocessing program against its parser alone, against music21, and two ranks against two programs; its memory.

    python -m benchmarks.preprocess midis/

The programs are started as users start them. The corpus is replicated under other names until one rank needs --seconds for it;
all files are hard links to one copy, so that replicas take no disk space. All programs are measured in every round, one after
another, and ratios are those of the medians over the rounds, because the load of most machines varies. One rank and the parser
use one core; two ranks and two programs share the same two cores. Memory is the proportional set size: a page that several
processes share counts in part for each of them.
"""

import argparse
import json
import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.support import program
from benchmarks.support.new_process import json_output_of
from benchmarks.support.program import Memory, Timing
from pianogen import command
from pianogen.errors import UsageError

# Not imported from pianogen.midi.reader: pages that this process shares with the ranks would not count in their memory.
_MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi", ".smf"})
_PILOT_REPLICAS = 20
_SAMPLE_FILES = 2_000  # links to the sample, so many that the start of the program does not matter
_BYTES_PER_STEP = 27
_PHASES = ("start_s", "convert_s", "merge_s", "total_s")
_log = logging.getLogger("benchmarks.preprocess")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.preprocess`."""
    options = _parse(arguments)
    cores = sorted(os.sched_getaffinity(0))[-2:]
    if len(cores) < 2:
        raise UsageError(f"this process may use {len(cores)} core, and two ranks need two; run the benchmark with two cores")
    files = _find_files(options.corpus)
    with tempfile.TemporaryDirectory(prefix="pianogen-bench-", dir=options.folder) as name:
        benchmark = _Benchmark(Path(name), files, cores)
        figures = {
            "benchmark": "preprocess",
            "throughput": benchmark.throughput(options.seconds, options.rounds),
            "memory": benchmark.memory(options.rounds),
            "music21": benchmark.compare_to_music21(options.sample, options.rounds),
        }
    _print_tables(figures)
    print(json.dumps(figures))
    return 0


class _Benchmark:
    """The measurements of one corpus, in a temporary folder."""

    def __init__(self, folder: Path, files: Sequence[Path], cores: Sequence[int]) -> None:
        self._folder, self._cores = folder, cores
        self._originals = folder / "originals"
        self._originals.mkdir()
        for number, file in enumerate(files):
            shutil.copyfile(file, self._originals / f"{number:06}.mid")

    def throughput(self, seconds: float, num_rounds: int) -> dict[str, Any]:
        """Files and notes per second of the parser alone, of one rank, of two ranks and of two programs of one rank."""
        bare = json_output_of("benchmarks.programs.bare", self._originals, "--seconds", 0)
        replicas = self._num_replicas(seconds, bare["files"], bare["steps"])
        corpus = self._folder / "corpus"
        # The corpus consists of two halves, so that two programs convert the same files as two ranks.
        halves = [_replicate(self._originals, corpus / half, range(replicas)[index::2]) for index, half in enumerate("ab")]
        num_files, num_notes = bare["files"] * replicas, bare["notes"] * replicas
        bare_s: list[float] = []
        one, two, pairs = [], [], []
        for number in range(num_rounds):
            _log.info("throughput of %s files, round %s of %s", f"{num_files:,}", number + 1, num_rounds)
            before_s = self._bare_s()
            one.append(self._time(corpus))
            # Measured before and after one rank, because the load of the machine may change in between.
            bare_s.append((before_s + self._bare_s()) / 2 * replicas)
            two.append(self._time(corpus, ranks=2))
            pairs.append(self._time_together(halves))
            totals = [bare_s[-1], *(timing.total_s for timing in (one[-1], two[-1], *pairs[-1]))]
            _log.info("  seconds: parser %.1f, one rank %.1f, two ranks %.1f, two programs %.1f and %.1f", *totals)
        shutil.rmtree(corpus)
        one_s, two_s = median(timing.total_s for timing in one), median(timing.total_s for timing in two)
        # The sum of the rates of both programs, because the program that ends first does not wait for the other.
        pair_files_per_s = median(sum(num_files / 2 / timing.total_s for timing in pair) for pair in pairs)
        return {
            "files": num_files,
            "notes": num_notes,
            "bare": _rates(num_files, num_notes, median(bare_s)) | {"seconds": bare_s},
            "one_rank": _rates(num_files, num_notes, one_s) | _phases(one),
            "two_ranks": _rates(num_files, num_notes, two_s) | _phases(two),
            "two_programs": _rates(num_files, num_notes, num_files / pair_files_per_s)
            | _phases([timing for pair in pairs for timing in pair]),
            "one_rank_over_bare": median(bare_s) / one_s,
            "converting_over_bare": median(bare_s) / median(timing.convert_s for timing in one),
            "two_ranks_over_two_programs": num_files / two_s / pair_files_per_s,
        }

    def memory(self, num_rounds: int) -> dict[str, Any]:
        """Peak memory of one rank with the corpus once and 20 times, and of two ranks with the corpus 20 times."""
        once = _replicate(self._originals, self._folder / "once", range(1))
        twenty = _replicate(self._originals, self._folder / "twenty", range(20))
        cases = {"one_rank_once": (once, 1), "one_rank_20_times": (twenty, 1), "two_ranks_20_times": (twenty, 2)}
        peaks: dict[str, list[Memory]] = {case: [] for case in cases}
        for number in range(num_rounds):
            _log.info("memory, round %s of %s", number + 1, num_rounds)
            for case, (corpus, ranks) in cases.items():
                peaks[case].append(program.measure_memory(program.command_line(corpus, self._store("memory"), ranks)))
                self._remove_stores()
        figures: dict[str, Any] = {
            case: {
                "pss_mb_per_rank": median(peak.pss for peak in case_peaks),
                "rss_mb_of_largest_process": median(peak.rss for peak in case_peaks),
            }
            for case, case_peaks in peaks.items()
        }
        figures["20_times_over_once"] = (
            figures["one_rank_20_times"]["pss_mb_per_rank"] / figures["one_rank_once"]["pss_mb_per_rank"]
        )
        return figures

    def compare_to_music21(self, num_sample: int, num_rounds: int) -> dict[str, Any]:
        """One rank and music21's converter.parse on the same files, a sample of all sizes."""
        by_size = sorted(self._originals.iterdir(), key=lambda path: path.stat().st_size)
        num = min(num_sample, len(by_size))
        sample = self._folder / "sample"
        sample.mkdir()
        for i in range(num):
            path = by_size[(2 * i + 1) * len(by_size) // (2 * num)]  # the median of each of `num` equal parts
            os.link(path, sample / path.name)
        replicas = math.ceil(_SAMPLE_FILES / num)
        corpus = _replicate(sample, self._folder / "sample-corpus", range(replicas))
        _log.info("music21 with %s files", num)
        music21_s = json_output_of("benchmarks.programs.report_reader", sample)["s"] / num
        one_rank_s = median(self._time(corpus).total_s / replicas / num for _ in range(num_rounds))
        return {
            "files": num,
            "converter_parse_s_per_file": music21_s,
            "one_rank_s_per_file": one_rank_s,
            "times_faster": music21_s / one_rank_s,
        }

    def _num_replicas(self, seconds: float, num_files: int, num_steps: int) -> int:
        """The even number of replicas for which one rank needs this time.

        Raises:
            UsageError: their shards and store would not fit on the disk.
        """
        _log.info("measuring the speed of one rank")
        corpus = _replicate(self._originals, self._folder / "pilot", range(_PILOT_REPLICAS))
        self._time(corpus)  # compiles the kernels if they are not cached
        timing = self._time(corpus)
        shutil.rmtree(corpus)
        replicas = 2 * math.ceil(seconds * 1.1 * _PILOT_REPLICAS / timing.convert_s / 2)
        needed = 1.1 * replicas * (num_steps * _BYTES_PER_STEP + num_files * 2_000)
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise UsageError(
                f"{self._folder.parent} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed for the shards of "
                f"{replicas * num_files:,} files; choose another --folder or fewer --seconds"
            )
        return replicas

    def _bare_s(self) -> float:
        with program.on_cores(self._cores[-1:]):
            return float(json_output_of("benchmarks.programs.bare", self._originals)["s"])

    def _time(self, corpus: Path, ranks: int = 1) -> Timing:
        (timing,) = program.time_programs([program.command_line(corpus, self._store("timed"), ranks)], self._cores[-ranks:])
        self._remove_stores()
        return timing

    def _time_together(self, corpora: Sequence[Path]) -> list[Timing]:
        commands = [program.command_line(corpus, self._store(corpus.name), 1) for corpus in corpora]
        timings = program.time_programs(commands, self._cores)
        self._remove_stores()
        return timings

    def _store(self, name: str) -> Path:
        return self._folder / f"{name}.h5"

    def _remove_stores(self) -> None:
        for path in self._folder.glob("*.h5*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _find_files(corpus: Path) -> list[Path]:
    if not corpus.is_dir():
        raise UsageError(f"{corpus} is not a folder; give a folder of MIDI files")
    files = sorted(path for path in corpus.rglob("*") if path.suffix.lower() in _MIDI_SUFFIXES and path.is_file())
    if not files:
        raise UsageError(f"no file below {corpus} ends in {' '.join(sorted(_MIDI_SUFFIXES))}; give a folder of MIDI files")
    return files


def _replicate(files: Path, target: Path, replicas: Iterable[int]) -> Path:
    for replica in replicas:
        folder = target / f"{replica:06}"
        folder.mkdir(parents=True)
        for file in files.iterdir():
            try:
                os.link(file, folder / file.name)
            except OSError:  # the file system has no hard links, or no more of this file
                shutil.copyfile(file, folder / file.name)
    return target


def _rates(num_files: int, num_notes: int, seconds: float) -> dict[str, Any]:
    return {"files_per_s": num_files / seconds, "notes_per_s": num_notes / seconds}


def _phases(timings: Sequence[Timing]) -> dict[str, Any]:
    medians = {phase: median(getattr(timing, phase) for timing in timings) for phase in _PHASES}
    return medians | {"rounds": [asdict(timing) for timing in timings]}


def _print_tables(figures: dict[str, Any]) -> None:
    throughput, memory, music21 = figures["throughput"], figures["memory"], figures["music21"]
    console = Console(width=110)
    table = Table(title=f"{throughput['files']:,} files", title_justify="left", box=None)
    table.add_column("program")
    for heading in ("files/s", "notes/s", "start s", "convert s", "merge s", "total s"):
        table.add_column(heading, justify="right")
    for case in ("bare", "one_rank", "two_ranks", "two_programs"):
        row = throughput[case]
        phases = [f"{row[phase]:,.2f}" if phase in row else "" for phase in _PHASES]
        table.add_row(case.replace("_", " "), f"{row['files_per_s']:,.0f}", f"{row['notes_per_s']:,.0f}", *phases)
    console.print(table)
    print(f"one rank reaches {throughput['one_rank_over_bare']:.3f} of the speed of the parser alone", end="")
    print(f" ({throughput['converting_over_bare']:.3f} while it converts)")
    print(f"two ranks reach {throughput['two_ranks_over_two_programs']:.3f} of the speed of two programs\n")
    table = Table(title="peak memory, MB", title_justify="left", box=None)
    table.add_column("program")
    table.add_column("PSS of a rank", justify="right")
    table.add_column("RSS of its largest process", justify="right")
    for case in ("one_rank_once", "one_rank_20_times", "two_ranks_20_times"):
        row = memory[case]
        table.add_row(case.replace("_", " "), f"{row['pss_mb_per_rank']:,.0f}", f"{row['rss_mb_of_largest_process']:,.0f}")
    console.print(table)
    print(f"the memory for 20 copies of the corpus is {memory['20_times_over_once']:.3f} of the memory for one\n")
    print(
        f"converter.parse takes {music21['converter_parse_s_per_file']:.3f} s per file, one rank "
        f"{music21['one_rank_s_per_file'] * 1e6:,.0f} µs: {music21['times_faster']:,.0f} times faster ({music21['files']} files)"
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.preprocess",
        description="Measure the complete preprocessing program against its parser alone and against music21, two ranks against\n"
        "two programs, and the memory of a rank. Prints tables; the last line is a JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.preprocess midis/ --seconds 10 --rounds 3",
    )
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="a folder of MIDI files")
    parser.add_argument("--seconds", type=_seconds, default=60.0, help="work of one rank per round (default: 60)")
    parser.add_argument(
        "--rounds", type=command.positive_int, default=3, help="number of rounds; converter.parse runs once (default: 3)"
    )
    parser.add_argument("--sample", type=command.positive_int, default=8, help="files of all sizes for music21 (default: 8)")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="folder for temporary replicas and stores"
    )
    options = parser.parse(arguments)
    if not options.folder.is_dir():
        parser.error(f"--folder {options.folder} is not a folder; name an existing one")
    return options


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


if __name__ == "__main__":
    sys.exit(command.run(main))
