"""A sweep of 200 runs in Slurm's queue: how long submitting, looking and cancelling take, and how often Slurm is asked.

    python -m benchmarks.queue corpus.h5

For a login node, or wherever sbatch is: the runs are queued and cancelled before they begin.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.execution import launch
from jobs.records import run_directory, submissions
from pianogen import command, config
from pianogen.errors import PianogenError

_CLIENTS = ("sbatch", "squeue", "sacct", "scontrol", "sinfo", "scancel")
_TARGETS_S = {"submit": 10.0, "status": 2.0}


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.queue`."""
    parser = command.Parser(
        prog="python -m benchmarks.queue",
        description="Queue a sweep, look at it and cancel it. Prints a table; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.queue corpus.h5 --runs 200",
    )
    parser.add_argument("store", type=Path, help="a corpus, on a file system that the nodes share")
    parser.add_argument("--runs", type=command.positive_int, default=200, help="runs of the sweep (default: 200)")
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="looks at it (default: 5)")
    options = parser.parse(arguments)
    launch.check("slurm")
    with tempfile.TemporaryDirectory(prefix="queue-", dir=options.store.absolute().parent) as name:
        figures = _measure(Path(name), options)
    table = Table(box=None, header_style="bold")
    for column in ("what", "s", "wanted s", "questions to Slurm"):
        table.add_column(column)
    for what in ("submit", "status", "cancel"):
        asked = ", ".join(f"{count} {client}" for client, count in figures[what]["asked"].items())
        table.add_row(what, f"{figures[what]['s']:.2f}", f"{_TARGETS_S[what]:.0f}" if what in _TARGETS_S else "", asked)
    Console(width=110).print(table)
    print(json.dumps({"benchmark": "queue", "runs": options.runs, **figures}))
    return 0


def _measure(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    sweep, out = folder / "sweep.yaml", folder / "runs"
    values = {
        "device": "cpu",
        "slurm": {"cpus_per_task": 1, "memory_gb": 1, "max_parallel": 1},
        "grid": {"training.seed": list(range(options.runs // 2)), "model.name": ["base", "gru"]},
    }
    sweep.write_text(config.dump_yaml(values))
    counted = _Counted(folder)
    # One job at a time may begin; that it begins does not matter.
    submit_s = counted.call("submit", sweep, "--store", options.store, "--out", out)
    submitted = counted.take()
    try:
        status_s = statistics.median(counted.call("status", out) for _ in range(options.rounds))
        asked = {client: count // options.rounds for client, count in counted.take().items()}
    finally:
        cancel_s = counted.call("cancel", out)
        cancelled = counted.take()
        while submissions.live_jobs(run_directory.open_runs(out)):  # what has begun writes its checkpoint before the folder goes
            time.sleep(1)
    return {
        "submit": {"s": submit_s, "asked": submitted},
        "status": {"s": status_s, "asked": asked},
        "cancel": {"s": cancel_s, "asked": cancelled},
    }


class _Counted:
    """Calls of jobs.sweep under which every question to Slurm leaves a line."""

    def __init__(self, folder: Path) -> None:
        self._log, bin_folder = folder / "asked", folder / "bin"
        bin_folder.mkdir()
        for client in _CLIENTS:
            script = bin_folder / client
            script.write_text(f'#!/bin/sh\necho {client} >> "{self._log}"\nexec "{shutil.which(client)}" "$@"\n')
            script.chmod(0o755)
        self._environment = os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}

    def call(self, *arguments: object) -> float:
        """How long it took."""
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "jobs.sweep", *map(str, arguments)], env=self._environment, capture_output=True, text=True
        )
        seconds = time.perf_counter() - begin
        if done.returncode != 0:
            raise PianogenError(f"python -m jobs.sweep {arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return seconds

    def take(self) -> dict[str, int]:
        """How often each client was called since the last time."""
        found = Counter(self._log.read_text().split()) if self._log.exists() else Counter()
        self._log.write_text("")
        return dict(found)


if __name__ == "__main__":
    sys.exit(command.run(main))
