"""A sweep of 200 runs in Slurm's queue: the time of submit, status and cancel, and how often they call Slurm's programs.

    python -m benchmarks.queue corpus.h5

Run this on a login node, or any machine with sbatch. The sweep is cancelled before its first job has trained.
"""

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
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jobs.execution import launch
from jobs.records import submissions, sweep_directory
from pianogen import command, yaml_files
from pianogen.errors import PianogenError

_PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "sinfo", "scancel")
_TARGETS_S = {"submit": 10.0, "status": 2.0}


@dataclass(frozen=True, slots=True)
class _Figures:
    """One command: seconds, and the calls of each of Slurm's programs."""

    s: float
    calls: dict[str, int]


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.queue`."""
    parser = command.Parser(
        prog="python -m benchmarks.queue",
        description="Queue a sweep, show its status and cancel it. Prints a table; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.queue corpus.h5 --runs 200",
    )
    parser.add_argument("store", type=Path, help="a corpus, on a file system that the nodes share")
    parser.add_argument("--runs", type=command.positive_int, default=200, help="runs of the sweep (default: 200)")
    parser.add_argument("--rounds", type=command.positive_int, default=5, help="repetitions of status (default: 5)")
    options = parser.parse(arguments)
    launch.check_cluster("slurm")
    with tempfile.TemporaryDirectory(prefix="queue-", dir=options.store.absolute().parent) as name:
        figures = _measure(Path(name), options.store, options.runs, options.rounds)
    table = Table(box=None, header_style="bold")
    for column in ("command", "s", "target s", "calls of Slurm's programs"):
        table.add_column(column)
    for action, measured in figures.items():
        calls = ", ".join(f"{count} {program}" for program, count in measured.calls.items())
        table.add_row(action, f"{measured.s:.2f}", f"{_TARGETS_S[action]:.0f}" if action in _TARGETS_S else "", calls)
    Console(width=110).print(table)
    measurements = {action: asdict(measured) for action, measured in figures.items()}
    print(json.dumps({"benchmark": "queue", "runs": options.runs, **measurements}))
    return 0


def _measure(folder: Path, store: Path, num_runs: int, rounds: int) -> dict[str, _Figures]:
    sweep, out = folder / "sweep.yaml", folder / "runs"
    values = {
        "device": "cpu",
        "slurm": {"cpus_per_task": 1, "memory_gb": 1, "max_parallel": 1},
        "grid": {"training.seed": list(range(num_runs // 2)), "model.name": ["base", "gru"]},
    }
    sweep.write_text(yaml_files.dump_yaml(values))
    counting = _CountingCommand(folder)
    submit = counting.measure("submit", sweep, "--store", store, "--out", out)
    try:
        rows = [counting.measure("status", out) for _ in range(rounds)]
        status = _Figures(statistics.median(row.s for row in rows), rows[0].calls)
    finally:
        cancel = counting.measure("cancel", out)
        while submissions.live_jobs(sweep_directory.open_runs(out)):  # a job that has started writes a checkpoint first
            time.sleep(1)
    return {"submit": submit, "status": status, "cancel": cancel}


class _CountingCommand:
    """Runs jobs.sweep with wrappers around Slurm's programs that log each call."""

    def __init__(self, folder: Path) -> None:
        self._log, wrappers = folder / "calls", folder / "bin"
        wrappers.mkdir()
        for program in _PROGRAMS:
            wrapper = wrappers / program
            wrapper.write_text(f'#!/bin/sh\necho {program} >> "{self._log}"\nexec "{shutil.which(program)}" "$@"\n')
            wrapper.chmod(0o755)
        self._environment = os.environ | {"PATH": f"{wrappers}{os.pathsep}{os.environ['PATH']}"}

    def measure(self, *arguments: object) -> _Figures:
        """The figures of one command.

        Raises:
            PianogenError: the command failed.
        """
        self._log.write_text("")
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "jobs.sweep", *map(str, arguments)], env=self._environment, capture_output=True, text=True
        )
        elapsed_s = time.perf_counter() - begin
        if done.returncode != 0:
            raise PianogenError(f"pianogen sweep {arguments[0]} exited with {done.returncode}:\n{done.stderr[-2000:]}")
        return _Figures(elapsed_s, dict(Counter(self._log.read_text().split())))


if __name__ == "__main__":
    sys.exit(command.run(main))
