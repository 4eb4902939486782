"""A corpus of 200,000 pieces and 100 million steps: scanning its files, merging its shards, opening its store.

    python -m benchmarks.scale

Every phase runs in its own process, so that its memory can be measured. The disk is measured in the same rounds, by reading the
same shards and by writing a file of the size of the store, both without the page cache: the disk limits a merge that takes no
longer. The figures expected for 2,000,000 files are proportional to the number of pieces, apart from the memory of imports.
"""

import argparse
import json
import logging
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.support.new_process import json_output_of
from pianogen import command
from pianogen.errors import UsageError
from pianogen.roll import ROW_BYTES

_PHASES = "benchmarks.programs.scale_phases"
_EXPECTED_PIECES = 2_000_000
_BYTES_PER_PIECE = 2_000  # names, headers, and folders
_log = logging.getLogger("benchmarks.scale")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.scale`."""
    options = _parse(arguments)
    _check_free_space(options.folder, options.pieces, options.steps)
    with tempfile.TemporaryDirectory(prefix="pianogen-scale-", dir=options.folder) as name:
        rounds, num_steps = _measure(Path(name), options.pieces, options.steps, options.rounds)
    for phases in rounds:
        phases["merge"]["s"] = phases["merge"]["records_s"] + phases["merge"]["write_s"]
        phases["disk"] = {"s": phases["read_raw"]["s"] + phases["write_raw"]["s"]}
    figures = {phase: _medians([phases[phase] for phases in rounds]) for phase in rounds[0]}
    merge, disk_s = figures["merge"], figures["disk"]["s"]
    ratios = [phases["merge"]["s"] / phases["disk"]["s"] for phases in rounds]
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


def _check_free_space(folder: Path, num_pieces: int, mean_steps: int) -> None:
    if not folder.is_dir():
        raise UsageError(f"--folder {folder} is not a folder; name a folder on the disk to measure")
    # Shards of less than half the size of the store, the store, and a raw file of the same size.
    needed = num_pieces * (5 * mean_steps * ROW_BYTES // 2 + _BYTES_PER_PIECE)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UsageError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; "
            "choose another --folder or fewer --pieces"
        )


def _measure(folder: Path, num_pieces: int, mean_steps: int, num_rounds: int) -> tuple[list[dict[str, dict[str, Any]]], int]:
    """The figures of every phase by round, and the number of steps of the corpus."""
    tree, shards, store = folder / "tree", folder / "shards", folder / "corpus.h5"
    _log.info("writing %s files and %s rolls", f"{num_pieces:,}", f"{num_pieces:,}")
    json_output_of(_PHASES, "make_tree", tree, num_pieces)
    num_steps = json_output_of(_PHASES, "make_shards", shards, num_pieces, mean_steps)["steps"]
    rounds = []
    for number in range(num_rounds):
        _log.info("round %s of %s", number + 1, num_rounds)
        store.unlink(missing_ok=True)
        scan = json_output_of(_PHASES, "scan", tree)
        read_raw = json_output_of(_PHASES, "read_raw", shards)
        merge = json_output_of(_PHASES, "merge", tree, shards, store)
        write_raw = json_output_of(_PHASES, "write_raw", folder / "raw", merge["bytes"])
        opened = json_output_of(_PHASES, "open", store)
        rounds.append({"scan": scan, "read_raw": read_raw, "merge": merge, "write_raw": write_raw, "open": opened})
    return rounds, num_steps


def _medians(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


def _expected(phase: dict[str, Any], num_pieces: int) -> dict[str, float]:
    factor = _EXPECTED_PIECES / num_pieces
    return {"s": phase["s"] * factor, "peak_mb": phase["import_mb"] + (phase["peak_mb"] - phase["import_mb"]) * factor}


def _print_tables(
    figures: dict[str, dict[str, Any]], expected: dict[str, dict[str, float]], disk_s: float, num_pieces: int, num_steps: int
) -> None:
    merge, read, write = figures["merge"], figures["read_raw"], figures["write_raw"]
    table = Table(title=f"{num_pieces:,} pieces, {num_steps:,} steps", title_justify="left", box=None)
    table.add_column("phase")
    for heading in ("s", "MB/s", "MB after import", "peak MB", f"s of {_EXPECTED_PIECES:,}", "peak MB of these"):
        table.add_column(heading, justify="right")
    megabytes = {"merge": (read["bytes"] + write["bytes"]) / 1e6}
    for phase in ("scan", "merge", "open"):
        figure, estimate = figures[phase], expected[phase]
        speed = f"{megabytes[phase] / figure['s']:,.0f}" if phase in megabytes else ""
        memory = [f"{figure[key]:,.0f}" for key in ("import_mb", "peak_mb")]
        table.add_row(phase, f"{figure['s']:,.2f}", speed, *memory, f"{estimate['s']:,.1f}", f"{estimate['peak_mb']:,.0f}")
    for name, figure in (("disk read", read), ("disk write", write)):
        table.add_row(name, f"{figure['s']:,.2f}", f"{figure['bytes'] / figure['s'] / 1e6:,.0f}")
    Console(width=110).print(table)
    print(
        f"merge: {merge['records_s']:.2f} s for the records, {merge['write_s']:.2f} s for ledger and store, of which "
        f"{merge['search_s']:.2f} s to find {merge['near_duplicates']:,.0f} near-duplicates; "
        f"{merge['s'] / disk_s:.2f} times the time of the disk for reading and writing the same bytes"
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.scale",
        description="Measure time and memory of a large corpus: scanning, merging against the speed of the disk, opening the\n"
        "store. Prints a table; the last line is a JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.scale --pieces 200000 --steps 500 --folder /scratch",
    )
    parser.add_argument("--pieces", type=command.positive_int, default=200_000, help="number of pieces (default: 200000)")
    parser.add_argument(
        "--steps", type=command.positive_int, default=500, help="mean number of steps of a piece, at least 4 (default: 500)"
    )
    parser.add_argument("--rounds", type=command.positive_int, default=3, help="number of rounds (default: 3)")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="folder for the temporary corpus, on the disk to measure"
    )
    options = parser.parse(arguments)
    if options.steps < 4:
        parser.error(f"--steps {options.steps} is too small; give at least 4")
    return options


if __name__ == "__main__":
    sys.exit(command.run(main))
