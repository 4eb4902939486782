"""The whole preprocessing program: against its bare parser, two ranks against two programs, its memory, and the report's way.

    python -m benchmarks.preprocess midis/

The programs are real ones, started as users start them. The corpus is replicated under other names until one rank has as
many seconds of work as asked for; all files are links to one copy, so that replicas take no room. Everything is measured in
rounds, one way after the other, and a ratio is one of medians over the rounds, because other work comes and goes on most
machines. One rank and the bare parser have one core; two ranks and two programs share the same two. Memory is proportional:
a page that a rank shares with other programs on the machine counts in part, so that a machine to itself gives most.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.support import program
from benchmarks.support.fresh import answer_of
from benchmarks.support.program import Memory, Timing
from pianogen import command
from pianogen.errors import UsageError

# Not from pianogen.midi.reader: this process stays small, or pages it shares with the ranks would be missing in their memory.
_MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi", ".smf"})
_PILOT_REPLICAS = 20
_SAMPLE_FILES = 2_000  # so many links to the sample that starting the program does not count
_BYTES_PER_STEP = 26


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.preprocess`."""
    options = _parse(arguments)
    cores = sorted(os.sched_getaffinity(0))[-2:]
    if len(cores) < 2:
        raise UsageError("one core is all there is; two ranks need two")
    files = _find_files(options.corpus)
    with tempfile.TemporaryDirectory(prefix="pianogen-bench-", dir=options.folder) as name:
        bench = _Bench(Path(name), files, cores)
        figures = {
            "benchmark": "preprocess",
            "throughput": bench.throughput(options.seconds, options.rounds),
            "memory": bench.memory(options.rounds),
            "music21": bench.against_music21(options.sample, options.rounds),
        }
    _print_tables(figures)
    print(json.dumps(figures))
    return 0


class _Bench:
    """One corpus, in a temporary folder, and what is measured on it."""

    def __init__(self, folder: Path, files: Sequence[Path], cores: Sequence[int]) -> None:
        self._folder, self._cores = folder, cores
        self._originals = folder / "originals"
        self._originals.mkdir()
        for number, file in enumerate(files):
            shutil.copyfile(file, self._originals / f"{number:06}.mid")

    def throughput(self, seconds: float, num_rounds: int) -> dict[str, Any]:
        """The bare parser, one rank, two ranks and two programs of one rank."""
        bare = answer_of("benchmarks.programs.bare", self._originals, "--seconds", 0)
        replicas = self._replicas_lasting(seconds, bare)
        corpus = self._folder / "corpus"
        # Two halves in one corpus, so that two programs have the files of two ranks.
        halves = [_replicate(self._originals, corpus / half, range(replicas)[at::2]) for at, half in enumerate("ab")]
        num_files, num_notes = bare["files"] * replicas, bare["notes"] * replicas
        bare_s: list[float] = []
        one, two, pairs = [], [], []
        for number in range(num_rounds):
            _say(f"throughput on {num_files:,} files, round {number + 1} of {num_rounds}")
            before_s = self._bare_s()
            one.append(self._timed(corpus))
            # On both sides of what it is compared with: the machine may be another one a minute later.
            bare_s.append((before_s + self._bare_s()) / 2 * replicas)
            two.append(self._timed(corpus, ranks=2))
            pairs.append(self._timed_together(halves))
            _say(
                f"  seconds: bare {bare_s[-1]:.1f}, one {one[-1].whole_s:.1f}, two {two[-1].whole_s:.1f}, programs "
                + " and ".join(f"{each.whole_s:.1f}" for each in pairs[-1])
            )
        shutil.rmtree(corpus)
        one_s, two_s = _median(each.whole_s for each in one), _median(each.whole_s for each in two)
        # The sum of what each gets done per second: one that ends first does not wait for the other.
        pair_files_per_s = _median(sum(num_files / 2 / each.whole_s for each in pair) for pair in pairs)
        return {
            "files": num_files,
            "notes": num_notes,
            "bare": _rates(num_files, num_notes, _median(bare_s)) | {"seconds": bare_s},
            "one_rank": _rates(num_files, num_notes, one_s) | _parts(one),
            "two_ranks": _rates(num_files, num_notes, two_s) | _parts(two),
            "two_programs": _rates(num_files, num_notes, num_files / pair_files_per_s)
            | _parts([each for p in pairs for each in p]),
            "one_rank_over_bare": _median(bare_s) / one_s,
            "converting_over_bare": _median(bare_s) / _median(each.convert_s for each in one),
            "two_ranks_over_two_programs": num_files / two_s / pair_files_per_s,
        }

    def memory(self, num_rounds: int) -> dict[str, Any]:
        """Of one rank on the corpus once and twenty times, and of two ranks on the latter."""
        once = _replicate(self._originals, self._folder / "once", range(1))
        twenty = _replicate(self._originals, self._folder / "twenty", range(20))
        ways = {"one_rank_once": (once, 1), "one_rank_20_times": (twenty, 1), "two_ranks_20_times": (twenty, 2)}
        seen: dict[str, list[Memory]] = {way: [] for way in ways}
        for number in range(num_rounds):
            _say(f"memory, round {number + 1} of {num_rounds}")
            for way, (corpus, ranks) in ways.items():
                seen[way].append(program.measured(program.command_line(corpus, self._store("memory"), ranks)))
                self._remove_stores()
        figures: dict[str, Any] = {
            way: {
                "pss_mb_per_rank": _median(max(each.pss.values()) for each in memories),
                "rss_mb_of_largest_process": _median(each.rss for each in memories),
            }
            for way, memories in seen.items()
        }
        figures["20_times_over_once"] = (
            figures["one_rank_20_times"]["pss_mb_per_rank"] / figures["one_rank_once"]["pss_mb_per_rank"]
        )
        return figures

    def against_music21(self, num_sample: int, num_rounds: int) -> dict[str, Any]:
        """One rank and music21's converter.parse on the same files, spread by size."""
        by_size = sorted(self._originals.iterdir(), key=lambda path: path.stat().st_size)
        num = min(num_sample, len(by_size))
        sample = self._folder / "sample"
        sample.mkdir()
        for i in range(num):
            path = by_size[(2 * i + 1) * len(by_size) // (2 * num)]  # the middle of equal parts
            os.link(path, sample / path.name)
        replicas = math.ceil(_SAMPLE_FILES / num)
        corpus = _replicate(sample, self._folder / "sample-corpus", range(replicas))
        _say(f"music21 on {num} files")
        music21_s = answer_of("benchmarks.programs.report_way", sample)["s"] / num
        ours = [self._timed(corpus).whole_s / replicas / num for _ in range(num_rounds)]
        return {
            "files": num,
            "converter_parse_s_per_file": music21_s,
            "one_rank_s_per_file": _median(ours),
            "times_faster": music21_s / _median(ours),
        }

    def _replicas_lasting(self, seconds: float, bare: dict[str, Any]) -> int:
        """How often the corpus must be there to last as long with one rank; even.

        Raises:
            UsageError: its shards and store would not fit on the disk.
        """
        _say("how long one rank takes")
        corpus = _replicate(self._originals, self._folder / "pilot", range(_PILOT_REPLICAS))
        self._timed(corpus)  # compiles the kernels, if need be
        timing = self._timed(corpus)
        shutil.rmtree(corpus)
        replicas = 2 * math.ceil(seconds * 1.1 * _PILOT_REPLICAS / timing.convert_s / 2)
        need = 1.1 * replicas * (bare["steps"] * _BYTES_PER_STEP + bare["files"] * 2_000)
        free = shutil.disk_usage(self._folder).free
        if free < need:
            raise UsageError(
                f"{self._folder.parent} has {free / 1e9:.1f} GB free and {need / 1e9:.1f} GB are needed for the shards of "
                f"{replicas * bare['files']:,} files; name another --folder, or fewer --seconds"
            )
        return replicas

    def _bare_s(self) -> float:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._cores[-1:])
        try:
            return float(answer_of("benchmarks.programs.bare", self._originals)["s"])
        finally:
            os.sched_setaffinity(0, before)

    def _timed(self, corpus: Path, ranks: int = 1) -> Timing:
        timing = program.timed([program.command_line(corpus, self._store("timed"), ranks)], self._cores[-ranks:])[0]
        self._remove_stores()
        return timing

    def _timed_together(self, corpora: Sequence[Path]) -> list[Timing]:
        commands = [program.command_line(corpus, self._store(corpus.name), 1) for corpus in corpora]
        timings = program.timed(commands, self._cores)
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
            except OSError:  # no links on this file system, or no more to this file
                shutil.copyfile(file, folder / file.name)
    return target


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _rates(num_files: int, num_notes: int, seconds: float) -> dict[str, Any]:
    return {"files_per_s": num_files / seconds, "notes_per_s": num_notes / seconds}


def _parts(timings: Sequence[Timing]) -> dict[str, Any]:
    medians = {part: _median(getattr(each, part) for each in timings) for part in ("start_s", "convert_s", "merge_s", "whole_s")}
    return medians | {"rounds": [asdict(each) for each in timings]}


def _say(text: str) -> None:
    # Plain lines: a bar would redraw itself while others are timed.
    print(text, file=sys.stderr, flush=True)


def _print_tables(figures: dict[str, Any]) -> None:
    throughput, memory, music21 = figures["throughput"], figures["memory"], figures["music21"]
    console = Console(width=110)
    table = Table(title=f"{throughput['files']:,} files", title_justify="left", box=None)
    table.add_column("way")
    for heading in ("files/s", "notes/s", "start s", "convert s", "merge s", "whole s"):
        table.add_column(heading, justify="right")
    for way in ("bare", "one_rank", "two_ranks", "two_programs"):
        row = throughput[way]
        parts = [f"{row[part]:,.2f}" if part in row else "" for part in ("start_s", "convert_s", "merge_s", "whole_s")]
        table.add_row(way.replace("_", " "), f"{row['files_per_s']:,.0f}", f"{row['notes_per_s']:,.0f}", *parts)
    console.print(table)
    print(f"one rank reaches {throughput['one_rank_over_bare']:.3f} of the bare parser", end="")
    print(f" ({throughput['converting_over_bare']:.3f} while it converts)")
    print(f"two ranks reach {throughput['two_ranks_over_two_programs']:.3f} of two programs\n")
    table = Table(title="memory at most, MB", title_justify="left", box=None)
    table.add_column("way")
    table.add_column("of a rank, shared pages in proportion", justify="right")
    table.add_column("of its largest process", justify="right")
    for way in ("one_rank_once", "one_rank_20_times", "two_ranks_20_times"):
        row = memory[way]
        table.add_row(way.replace("_", " "), f"{row['pss_mb_per_rank']:,.0f}", f"{row['rss_mb_of_largest_process']:,.0f}")
    console.print(table)
    print(f"the corpus 20 times takes {memory['20_times_over_once']:.3f} of the memory of once\n")
    print(
        f"converter.parse takes {music21['converter_parse_s_per_file']:.3f} s a file, one rank "
        f"{music21['one_rank_s_per_file'] * 1e6:,.0f} µs: {music21['times_faster']:,.0f} times faster ({music21['files']} files)"
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.preprocess",
        description="Measure the whole preprocessing program: against its bare parser, against music21, two ranks against two\n"
        "programs, and the memory of a rank. Prints tables; the last line is one JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.preprocess midis/ --seconds 10 --rounds 3",
    )
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="a folder of MIDI files")
    parser.add_argument("--seconds", type=_seconds, default=60.0, help="work for one rank in each round (default: 60)")
    parser.add_argument("--rounds", type=command.positive_int, default=3, help="rounds; converter.parse has one (default: 3)")
    parser.add_argument("--sample", type=command.positive_int, default=8, help="files for music21, spread by size (default: 8)")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where replicas and stores are made and removed again"
    )
    options = parser.parse(arguments)
    if not options.folder.is_dir():
        parser.error(f"--folder {options.folder} is not a folder")
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
