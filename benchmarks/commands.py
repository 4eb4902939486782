"""The time of the commands that users wait for: help, the status of a sweep of 200 runs, and the checks of its submission.

    python -m benchmarks.commands corpus.h5

The sweep has never been started; half of its runs have a result, as if they were done. Nothing is queued.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.configuration import grid
from jobs.records import sweep_directory
from jobs.records.result import Result
from pianogen import command, yaml_files
from pianogen.errors import PianogenError
from pianogen.store import Store

_MODELS = ("base", "gru", "rnn", "stacked", "bidirectional", "mlstm", "peephole", "feedback", "split", "pair")
_TARGETS_S = {"help": 0.2, "status": 1.0, "submit, 1 model": 10.0, "submit, 10 models": 10.0}
_NETWORK = {"nats_per_step": 8.0, "static_threshold": {"onset_f1": 0.3}}
_TRIVIAL = {
    "markov": {"nats_per_step": 9.0, "static_threshold": {"onset_f1": 0.2}},
    "marginal": {"nats_per_step": 10.0, "static_threshold": {"onset_f1": 0.15}},
    "repeat": {"most_probable": {"onset_f1": 0.05}},
}
_RESULT = Result(
    checkpoint="ckpt-1000",
    parameters=104_963,
    windows=1_000,
    metrics={"epoch": 10, "iteration": 1_000, "loss": 0.01, "valid_loss": 0.011},
    best_valid_loss=0.011,
    constant_predictor_loss=0.02,
    held_out={"valid": {"network": _NETWORK, "trivial": _TRIVIAL}},
    samples=[],
)


@dataclass(frozen=True, slots=True)
class _Figures:
    """One command: seconds from the start of its process to its end, and CPU seconds of it and its child processes."""

    s: float
    cpu_s: float


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.commands`."""
    parser = command.Parser(
        prog="python -m benchmarks.commands",
        description="Measure help, status and the dry run of a submission. Prints a table; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.commands corpus.h5 --runs 200",
    )
    parser.add_argument("store", type=Path, help="a corpus")
    parser.add_argument("--runs", type=command.positive_int, default=200, help="runs of the sweep (default: 200)")
    parser.add_argument("--rounds", type=command.positive_int, default=3, help="repetitions of each command (default: 3)")
    options = parser.parse(arguments)
    with tempfile.TemporaryDirectory(prefix="commands-") as name:
        commands = _prepare(Path(name), options.store, options.runs)
        figures = {action: _median([_measure(words) for _ in range(options.rounds)]) for action, words in commands.items()}
    table = Table(box=None, header_style="bold")
    for column in ("command", "s", "CPU s", "target s"):
        table.add_column(column)
    for action, measured in figures.items():
        target = f"{_TARGETS_S[action]:g}" if action in _TARGETS_S else ""
        table.add_row(action, f"{measured.s:.2f}", f"{measured.cpu_s:.2f}", target)
    Console(width=110).print(table)
    measurements = {action: asdict(measured) for action, measured in figures.items()}
    print(json.dumps({"benchmark": "commands", "runs": options.runs, **measurements}))
    return 0


def _prepare(folder: Path, store: Path, num_runs: int) -> dict[str, list[object]]:
    """Writes the sweep files and the directory of a sweep; the arguments of each command."""
    commands: dict[str, list[object]] = {"help": ["--help"], "status": ["sweep", "status", folder / "runs"]}
    for models in (_MODELS[:1], _MODELS):
        values: dict[str, Any] = {
            "device": "cpu",
            "slurm": {"cpus_per_task": 1},
            "grid": {"training.seed": list(range(-(-num_runs // len(models)))), "model.name": list(models)},
        }
        sweep = folder / f"{len(models)}.yaml"
        sweep.write_text(yaml_files.dump_yaml(values))
        submit = ["sweep", "submit", sweep, "--store", store, "--out", folder / "new", "--cluster", "local", "--dry-run"]
        action = f"submit, {command.counted(len(models), 'model')}"
        commands |= {action: submit, f"{action}, --no-check-models": [*submit, "--no-check-models"]}
    _write_sweep(folder / "runs", store, values)
    return commands


def _write_sweep(out: Path, store: Path, values: dict[str, Any]) -> None:
    """Writes the directory of a sweep, with a result for every second run."""
    with Store(store) as opened:
        planned = sweep_directory.plan_runs(out, grid.expand(dict(values), out), opened.fingerprint, {}, ())
        sweep_directory.write_runs(out, dict(values), planned, opened)
    for entry in planned[::2]:
        entry.run.write_result(_RESULT)


def _measure(words: Sequence[object]) -> _Figures:
    """The figures of one command.

    Raises:
        PianogenError: the command failed.
    """
    begin, cpu_begin = time.perf_counter(), _children_cpu_s()
    done = subprocess.run([sys.executable, "-m", "jobs.console", *map(str, words)], capture_output=True, text=True)
    measured = _Figures(round(time.perf_counter() - begin, 3), round(_children_cpu_s() - cpu_begin, 3))
    if done.returncode != 0:
        raise PianogenError(f"pianogen {' '.join(map(str, words))} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return measured


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _median(rounds: Sequence[_Figures]) -> _Figures:
    return _Figures(statistics.median(entry.s for entry in rounds), statistics.median(entry.cpu_s for entry in rounds))


if __name__ == "__main__":
    sys.exit(command.run(main))
