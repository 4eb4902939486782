"""The report's claims, tried again: its networks trained for a while each on one corpus, its figures beside ours.

    python -m benchmarks.report midis/ --iterations 3000

Everything is done by the commands a user has: the corpus becomes two stores, with rests cut and with rests kept; sweeps of
short runs are submitted to this machine; what is compared stands in their result.json. Runs are shorter than the report's, so
that a claim that does not hold here may hold after days.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jobs.records.run_directory import Run
from pianogen import command, config
from pianogen.errors import PianogenError
from pianogen.store import Split, Store

_RATES = (0.0005, 0.001, 0.002, 0.005, 0.01)
_FEW_EPOCHS, _MANY_EPOCHS = 25, 150
_EPOCH_ITERATIONS = 25  # of the run with many epochs
_BATCH = 64
_THRESHOLD = 0.5  # static, as in the report; the dynamic ones would give samples of every network the notes of the corpus

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the report says, what was found here, and whether that agrees."""

    says: str
    found: str
    holds: bool


@dataclass(frozen=True, slots=True)
class _Composer:
    """The group with most steps, and the stride at which an epoch of it has `_EPOCH_ITERATIONS`."""

    name: str
    stride: int


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.report`."""
    parser = command.Parser(
        prog="python -m benchmarks.report",
        description="Train a scaled set of the report's experiments and print its claims beside our figures.\n"
        "Prints tables; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.report midis/ --iterations 3000",
    )
    parser.add_argument("corpus", help="a folder of MIDI files, with a folder for each composer")
    parser.add_argument("--iterations", type=command.positive_int, default=3_000, help="of each run, at batch 64 (default: 3000)")
    parser.add_argument("--stride", type=command.positive_int, default=8, help="steps from window to window (default: 8)")
    parser.add_argument("--split-file", help="a published split, for preprocessing")
    parser.add_argument("--jobs", type=command.positive_int, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--folder", type=Path, help="keep stores and runs here (default: a temporary folder)")
    options = parser.parse(arguments)
    with tempfile.TemporaryDirectory(prefix="pianogen-report-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        split = ["--split-file", options.split_file] if options.split_file else []
        for store, more in (("trimmed", []), ("rests", ["--keep-rests"])):
            _run("preprocess", options.corpus, "--store", folder / f"{store}.h5", *split, *more)
        composer = _find_composer(folder / "trimmed.h5")
        runs = _runs(options.iterations, composer)
        results = _train(folder, "trimmed", runs, options)
        kept = _train(folder, "rests", {"base": {}}, options)
    claims = _claims(results, kept["base"], composer)
    _print_tables(results | {"base, rests kept": kept["base"]}, claims)
    figures = {name: _summary(result) for name, result in (results | {"rests kept": kept["base"]}).items()}
    rows = [{"report": claim.says, "ours": claim.found, "holds": claim.holds} for claim in claims]
    print(json.dumps({"benchmark": "report", "iterations": options.iterations, "claims": rows, "runs": figures}))
    return 0


def _runs(iterations: int, composer: "_Composer") -> dict[str, dict[str, Any]]:
    """What each run changes of the base model, by name."""
    few, many = (
        {
            "training.epochs": epochs,
            "training.max_iterations": None,
            "data.groups": [composer.name],
            "data.stride": composer.stride,
        }
        for epochs in (_FEW_EPOCHS, _MANY_EPOCHS)
    )
    runs: dict[str, dict[str, Any]] = {
        "base": {},
        "one dense layer": {"model.dense_layers": 1},
        "two LSTM layers": {"model.name": "stacked"},
        "gru": {"model.name": "gru"},
        "relu": {"model.activation": "relu"},
        "sigmoid": {"model.activation": "sigmoid"},
        "adam": {"training.optimizer": "adam"},
        "silence": {"model.silence": True},
        "split": {"model.name": "split"},
        "pair": {"model.name": "pair"},
        "one composer": {"data.groups": [composer.name]},
        **{f"rate {rate}": {"training.learning_rate": rate} for rate in _RATES if rate != 0.002},
        # As many windows, not as many iterations.
        **{
            f"batch {batch}": {"training.batch": batch, "training.max_iterations": iterations * _BATCH // batch}
            for batch in (128, 256)
        },
    }
    return runs | {f"{_FEW_EPOCHS} epochs": few, f"{_MANY_EPOCHS} epochs": many}


def _find_composer(path: Path) -> _Composer:
    with Store(path) as store:
        pieces = store.pieces
    is_train = pieces.split == Split.TRAIN
    groups = np.array(pieces.group)
    steps = {group: int(pieces.steps[is_train & (groups == group)].sum()) for group in sorted(set(pieces.group))}
    name = max(steps, key=lambda group: steps[group])
    return _Composer(name, max(1, steps[name] // (_EPOCH_ITERATIONS * _BATCH)))


def _train(folder: Path, store: str, runs: dict[str, dict[str, Any]], options: argparse.Namespace) -> Results:
    """Submits the runs as a sweep to this machine; their results by name."""
    sweep, out = folder / f"{store}.yaml", folder / f"{store}-runs"
    values = {
        "device": "cpu",
        "data": {"stride": options.stride},
        "training": {"epochs": 1_000, "max_iterations": options.iterations},
        "sampling": {"threshold": _THRESHOLD},
        "slurm": {"cpus_per_task": 1, "max_parallel": options.jobs},
        "runs": list(runs.values()),
    }
    sweep.write_text(config.dump_yaml(values))
    _run("jobs.sweep", "submit", sweep, "--store", folder / f"{store}.h5", "--out", out, "--cluster", "local")
    return {name: _read(Run(path)) for name, path in zip(runs, sorted(out.glob("0*")), strict=True)}


def _read(run: Run) -> dict[str, Any]:
    """Its result, and how fast its last attempt was."""
    result = json.loads((run.path / "result.json").read_text())
    return {**result, "iterations_per_s": run.read_provenance().attempts[-1].iterations_per_s}


def _run(module: str, *arguments: object) -> None:
    print(f"python -m {module} {' '.join(map(str, arguments))}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0:
        raise PianogenError(f"python -m {module} ended with {done.returncode}; what it said is above")


def _summary(result: dict[str, Any]) -> dict[str, float]:
    """The figures of a run that are compared."""
    valid = result["held_out"]["valid"]["network"]
    return {
        "loss": result["loss"],
        "valid_loss": result["valid_loss"],
        "iterations_per_s": result["iterations_per_s"],
        "state_accuracy": valid["most_probable"]["state_accuracy"],
        "onset_f1": valid["static_threshold"]["onset_f1"],
        "nats_per_step": valid["nats_per_step"],
        "predicted_notes_per_step": valid["most_probable"]["notes_per_step"],
        "sample_notes_per_step": statistics.mean(each["notes"] / each["steps"] for each in result["samples"]),
        "sample_silent_share": statistics.mean(each["silent_share"] for each in result["samples"]),
    }


def _claims(results: Results, kept: dict[str, Any], composer: _Composer) -> list[Claim]:
    of = {name: _summary(result) for name, result in results.items()}
    base, rests = of["base"], _summary(kept)
    dense = base["state_accuracy"] - of["one dense layer"]["state_accuracy"]
    deeper = base["valid_loss"] / of["two LSTM layers"]["valid_loss"] - 1
    faster = of["gru"]["iterations_per_s"] / base["iterations_per_s"] - 1
    notes = of["gru"]["sample_notes_per_step"] / base["sample_notes_per_step"]
    rates = {rate: base["valid_loss"] if rate == 0.002 else of[f"rate {rate}"]["valid_loss"] for rate in _RATES}
    batches = {64: base["loss"], 128: of["batch 128"]["loss"], 256: of["batch 256"]["loss"]}
    activations = {"softplus": base["valid_loss"], "relu": of["relu"]["valid_loss"], "sigmoid": of["sigmoid"]["valid_loss"]}
    few, many = of[f"{_FEW_EPOCHS} epochs"], of[f"{_MANY_EPOCHS} epochs"]
    spread = max(batches.values()) - min(batches.values())
    one = of["one composer"]["loss"]
    split, best_base = of["split"]["onset_f1"], base["onset_f1"]
    return [
        Claim("two dense layers are 0.1 % more accurate than one", f"{100 * dense:+.3f} % of states", dense > 0),
        Claim("deeper LSTMs gain nothing", f"two layers: validation loss {-100 * deeper:+.1f} %", deeper < 0.01),
        Claim("a GRU is 10 to 15 % faster", f"{100 * faster:+.0f} % iterations a second, here on a CPU", faster > 0.05),
        Claim("and has more notes", f"{notes:.2f} times the notes in samples", notes > 1),
        Claim("0.002 is the best learning rate", _listed(rates), min(rates, key=lambda rate: rates[rate]) == 0.002),
        Claim("loss 0.015 +- 0.001 at any batch size", _listed(batches), spread < 0.002),
        Claim(
            "the same loss of 0.013 on one composer as on all",
            f"{composer.name} {one:.4f}, all {base['loss']:.4f}",
            abs(one - base["loss"]) < 0.001,
        ),
        Claim("softplus is best", _listed(activations), min(activations, key=lambda name: activations[name]) == "softplus"),
        Claim(
            "20 to 25 epochs are best",
            f"validation loss after {_FEW_EPOCHS} epochs {few['valid_loss']:.4f}, after {_MANY_EPOCHS} {many['valid_loss']:.4f}",
            few["valid_loss"] <= many["valid_loss"],
        ),
        Claim(
            "after 150 epochs the output is all zeros",
            _compared_silence(many, few, "after 25"),
            many["sample_silent_share"] > 0.9,
        ),
        Claim(
            "kept rests teach silence",
            _compared_silence(rests, base, "trimmed"),
            rests["sample_silent_share"] > base["sample_silent_share"],
        ),
        Claim("a split model could not be trained", f"onset F1 {split:.3f}, base {best_base:.3f}", split <= best_base),
    ]


def _compared_silence(one: dict[str, float], other: dict[str, float], name: str) -> str:
    here, there = (100 * each["sample_silent_share"] for each in (one, other))
    return f"samples silent at {here:.0f} % of steps, {there:.0f} % {name}"


def _listed(losses: dict[Any, float]) -> str:
    return ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())


def _print_tables(results: Results, claims: Sequence[Claim]) -> None:
    console = Console(width=150)
    runs = Table(box=None, header_style="bold")
    for column in ("run", *_summary(results["base"])):
        runs.add_column(column.replace("_", " "), justify="left" if column == "run" else "right")
    for name, result in results.items():
        runs.add_row(name, *(f"{value:.4g}" for value in _summary(result).values()))
    console.print(runs)
    table = Table(box=None, header_style="bold")
    for column in ("the report says", "here", "holds"):
        table.add_column(column)
    for claim in claims:
        table.add_row(claim.says, claim.found, "yes" if claim.holds else "no")
    console.print(table)


if __name__ == "__main__":
    sys.exit(command.run(main))
