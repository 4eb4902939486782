"""A corpus of 200,000 pieces and 100 million steps: finding its files, merging its shards, opening its store.

    python -m benchmarks.scale

Every phase is a process of its own, so that its memory is not that of another. The disk is measured in the same rounds, by
reading the same shards and writing a file as large as the store, both without the page cache: merging is limited by the disk
where it takes no longer than that. What is expected of 2,000,000 files follows from the same figures, all of them in
proportion to the number of pieces, apart from what the imports take.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.support.fresh import answer_of
from pianogen import command
from pianogen.errors import UsageError

_PHASES = "benchmarks.programs.scale_phases"
_EXPECTED_PIECES = 2_000_000
_BYTES_PER_STEP = 26
_BYTES_PER_PIECE = 2_000  # names, headers, and folders


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.scale`."""
    options = _parse(arguments)
    _check_room(options)
    with tempfile.TemporaryDirectory(prefix="pianogen-scale-", dir=options.folder) as name:
        rounds, num_steps = _measure(Path(name), options.pieces, options.steps, options.rounds)
    for each in rounds:
        each["merge"]["s"] = each["merge"]["entries_s"] + each["merge"]["write_s"]
        each["disk"] = {"s": each["read_raw"]["s"] + each["write_raw"]["s"]}
    figures = {phase: _medians([each[phase] for each in rounds]) for phase in rounds[0]}
    merge, disk_s = figures["merge"], figures["disk"]["s"]
    ratios = [each["merge"]["s"] / each["disk"]["s"] for each in rounds]
    expected = {phase: _expected(figures[phase], options.pieces) for phase in ("scan", "merge", "open")}
    _print_tables(figures, expected, disk_s, options.pieces, num_steps)
    answer = {
        "benchmark": "scale",
        "pieces": options.pieces,
        "steps": num_steps,
        "phases": figures,
        "merge_over_disk": merge["s"] / disk_s,
        "merge_over_disk_by_round": ratios,
        f"expected_of_{_EXPECTED_PIECES}": expected,
    }
    print(json.dumps(answer))
    return 0


def _check_room(options: argparse.Namespace) -> None:
    if not options.folder.is_dir():
        raise UsageError(f"--folder {options.folder} is not a folder; name one on the disk that is to be measured")
    # Shards of less than half of the rows, a store, and the raw file beside it.
    need = options.pieces * (5 * options.steps * _BYTES_PER_STEP // 2 + _BYTES_PER_PIECE)
    free = shutil.disk_usage(options.folder).free
    if free < need:
        raise UsageError(
            f"{options.folder} has {free / 1e9:.1f} GB free and {need / 1e9:.1f} GB are needed; "
            "name another --folder, or fewer --pieces"
        )


def _measure(folder: Path, num_pieces: int, mean_steps: int, num_rounds: int) -> tuple[list[dict[str, dict[str, Any]]], int]:
    """The answers of each phase, round by round, and how many steps there were."""
    tree, shards, store = folder / "tree", folder / "shards", folder / "corpus.h5"
    _say(f"making {num_pieces:,} files and {num_pieces:,} rolls")
    answer_of(_PHASES, "make_tree", tree, num_pieces)
    num_steps = answer_of(_PHASES, "make_shards", shards, num_pieces, mean_steps)["steps"]
    rounds = []
    for number in range(num_rounds):
        _say(f"round {number + 1} of {num_rounds}")
        store.unlink(missing_ok=True)
        scan = answer_of(_PHASES, "scan", tree)
        read_raw = answer_of(_PHASES, "read_raw", shards)
        merge = answer_of(_PHASES, "merge", shards, num_pieces, store)
        write_raw = answer_of(_PHASES, "write_raw", folder / "raw", merge["bytes"])
        opened = answer_of(_PHASES, "open", store)
        rounds.append({"scan": scan, "read_raw": read_raw, "merge": merge, "write_raw": write_raw, "open": opened})
    return rounds, num_steps


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _medians(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: statistics.median(each[key] for each in answers) for key in answers[0]}


def _expected(phase: dict[str, Any], num_pieces: int) -> dict[str, float]:
    times = _EXPECTED_PIECES / num_pieces
    return {"s": phase["s"] * times, "peak_mb": phase["import_mb"] + (phase["peak_mb"] - phase["import_mb"]) * times}


def _print_tables(
    figures: dict[str, dict[str, Any]], expected: dict[str, dict[str, float]], disk_s: float, num_pieces: int, num_steps: int
) -> None:
    merge, read, write = figures["merge"], figures["read_raw"], figures["write_raw"]
    table = Table(title=f"{num_pieces:,} pieces, {num_steps:,} steps", title_justify="left", box=None)
    table.add_column("phase")
    for heading in ("s", "MB/s", "MB after import", "MB at most", f"s at {_EXPECTED_PIECES:,}", "MB there"):
        table.add_column(heading, justify="right")
    megabytes = {"merge": (read["bytes"] + write["bytes"]) / 1e6}
    for phase in ("scan", "merge", "open"):
        figure, there = figures[phase], expected[phase]
        speed = f"{megabytes[phase] / figure['s']:,.0f}" if phase in megabytes else ""
        memory = [f"{figure[key]:,.0f}" for key in ("import_mb", "peak_mb")]
        table.add_row(phase, f"{figure['s']:,.2f}", speed, *memory, f"{there['s']:,.1f}", f"{there['peak_mb']:,.0f}")
    for name, figure in (("disk, reading", read), ("disk, writing", write)):
        table.add_row(name, f"{figure['s']:,.2f}", f"{figure['bytes'] / figure['s'] / 1e6:,.0f}")
    Console(width=110).print(table)
    print(
        f"merge: {merge['entries_s']:.2f} s for the entries, {merge['write_s']:.2f} s for ledger and store; "
        f"{merge['s'] / disk_s:.2f} times what the disk takes to read and to write as much"
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.scale",
        description="Measure what a large corpus takes: scanning, merging against the speed of the disk, opening the store.\n"
        "Prints a table; the last line is one JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.scale --pieces 200000 --steps 500 --folder /scratch",
    )
    parser.add_argument("--pieces", type=command.positive_int, default=200_000, help="pieces of the corpus (default: 200000)")
    parser.add_argument(
        "--steps", type=command.positive_int, default=500, help="mean sixteenths of a piece, 4 or more (default: 500)"
    )
    parser.add_argument("--rounds", type=command.positive_int, default=3, help="rounds (default: 3)")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the corpus is made and removed again; the disk"
    )
    options = parser.parse(arguments)
    if options.steps < 4:
        parser.error(f"--steps {options.steps}: at least 4")
    return options


if __name__ == "__main__":
    sys.exit(command.run(main))
