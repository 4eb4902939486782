"""Search of a large training set for the longest passage of each sample.

    python -m benchmarks.memorization

The corpus is synthetic: its pieces are excerpts of random music on a scale, about as dense as piano-midi.de. Ten samples contain
a transposed passage of a training piece, which the search must find. The search runs in its own process, so that its memory can
be measured. The time to read the store alone is measured too.
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.programs.memorization_phases import NUM_PLANTED
from benchmarks.support.new_process import json_output_of
from pianogen import command
from pianogen.errors import UsageError

_PHASES = "benchmarks.programs.memorization_phases"
_BYTES_PER_STEP = 28
_log = logging.getLogger("benchmarks.memorization")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.memorization`."""
    options = _parse(arguments)
    _check_free_space(options.folder, options.steps)
    with tempfile.TemporaryDirectory(prefix="pianogen-memorization-", dir=options.folder) as name:
        store = Path(name) / "corpus.h5"
        _log.info("writing a store of %s steps", f"{options.steps:,}")
        made = json_output_of(_PHASES, "make", store, options.steps)
        _log.info("reading it")
        read = json_output_of(_PHASES, "read", store)
        _log.info("searching it for passages of %s samples", options.samples)
        searched = json_output_of(_PHASES, "search", store, options.samples)
    per_onset_ns = 1e9 * searched["cpu_s"] / made["notes"] / options.samples
    title = f"{made['pieces']:,} pieces, {made['steps']:,} steps, {made['notes']:,} onsets"
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("samples", "s", "CPU s", "ns per onset and sample", "s to read the store", "MB after import", "peak MB"):
        table.add_column(heading, justify="right")
    seconds = [f"{searched[key]:,.1f}" for key in ("s", "cpu_s")]
    megabytes = [f"{searched[key]:,.0f}" for key in ("import_mb", "peak_mb")]
    table.add_row(str(options.samples), *seconds, f"{per_onset_ns:.1f}", f"{read['s']:,.1f}", *megabytes)
    Console(width=110).print(table)
    found, planted, median = (searched[key] for key in ("found", "planted", "median"))
    print(f"{found} of {planted} planted passages were found; the median of the other samples is {median:g} onsets")
    figures = {**made, "read_s": read["s"], **searched, "ns_per_onset_and_sample": per_onset_ns}
    print(json.dumps({"benchmark": "memorization", **figures}))
    return 0 if found == planted else 1


def _check_free_space(folder: Path, num_steps: int) -> None:
    if not folder.is_dir():
        raise UsageError(f"--folder {folder} is not a folder; name a folder with {num_steps * _BYTES_PER_STEP / 1e9:.1f} GB free")
    free = shutil.disk_usage(folder).free
    if free < num_steps * _BYTES_PER_STEP:
        raise UsageError(
            f"{folder} has {free / 1e9:.1f} GB free and {num_steps * _BYTES_PER_STEP / 1e9:.1f} GB are needed; "
            "choose another --folder or fewer --steps"
        )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.memorization",
        description="Measure time and memory of the search for memorized passages in a large training set. Prints a table; the\n"
        "last line is a JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.memorization --steps 10000000 --folder /scratch",
    )
    parser.add_argument(
        "--steps", type=command.positive_int, default=100_000_000, help="steps of the training set (default: 100000000)"
    )
    parser.add_argument(
        "--samples", type=command.positive_int, default=100, help="samples of 512 steps, more than 10 (default: 100)"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="folder for the temporary store of 2.8 GB"
    )
    options = parser.parse(arguments)
    if options.samples <= NUM_PLANTED:
        parser.error(f"--samples {options.samples} is too small; give more than {NUM_PLANTED}")
    return options


if __name__ == "__main__":
    sys.exit(command.run(main))
