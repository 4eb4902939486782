"""The claims of the 2021 report (docs/report.md) beside our figures: its models, trained on one corpus for a short time.

    python -m benchmarks.report midis/ --iterations 3000

Uses only the commands of the suite: the corpus becomes two stores, with rests trimmed and with rests kept; sweeps of short runs
are trained by local processes; the figures come from their result.json. Runs are shorter than those of the 2021 report, so a
claim that does not hold here may hold after days of training.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jobs.records.run_directory import Run
from pianogen import command, yaml_files
from pianogen.errors import PianogenError
from pianogen.store import Split, Store

_RATES = (0.0005, 0.001, 0.002, 0.005, 0.01)
_FEW_EPOCHS, _MANY_EPOCHS = 25, 150
_EPOCH_ITERATIONS = 25  # of the runs that compare numbers of epochs
_BATCH = 64
# Static, as in the 2021 report: with the dynamic threshold, samples of every model would have as many notes as the corpus.
_THRESHOLD = 0.5
_KEPT_RESTS = "base, rests kept"
_log = logging.getLogger("benchmarks.report")


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The figures of a run that are compared."""

    loss: float
    valid_loss: float
    iterations_per_s: float
    state_accuracy: float
    onset_f1: float
    nats_per_step: float
    predicted_notes_per_step: float
    sample_notes_per_step: float
    sample_silent_share: float


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the 2021 report, our figures, and whether they agree with it."""

    report: str
    ours: str
    holds: bool


@dataclass(frozen=True, slots=True)
class _Composer:
    """The group with the most steps, and the stride for which an epoch of it has `_EPOCH_ITERATIONS`."""

    name: str
    stride: int


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.report`."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="pianogen-report-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        split = ["--split-file", options.split_file] if options.split_file else []
        for store, rests in (("trimmed", []), ("rests", ["--keep-rests"])):
            _run("preprocess", options.corpus, "--store", folder / f"{store}.h5", *split, *rests)
        composer = _find_composer(folder / "trimmed.h5")
        figures: dict[str, RunFigures] = {}
        for store, runs in (("trimmed", _runs(options.iterations, composer)), ("rests", {_KEPT_RESTS: {}})):
            settings = _settings(options.stride, options.iterations, options.jobs, list(runs.values()))
            figures |= dict(zip(runs, _train(folder, store, settings), strict=True))
    claims = _claims(figures, composer)
    _print_tables(figures, claims)
    results = {"claims": [asdict(claim) for claim in claims], "runs": {name: asdict(run) for name, run in figures.items()}}
    print(json.dumps({"benchmark": "report", "iterations": options.iterations, **results}))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.report",
        description="Train a scaled set of the experiments of the 2021 report and print its claims next to our figures.\n"
        "Prints tables; the last line is one JSON object.",
        epilog="example:\n  python -m benchmarks.report midis/ --iterations 3000",
    )
    parser.add_argument("corpus", help="a folder of MIDI files, with a folder for each composer")
    parser.add_argument(
        "--iterations", type=command.positive_int, default=3_000, help="iterations of each run with batch 64 (default: 3000)"
    )
    parser.add_argument("--stride", type=command.positive_int, default=8, help="data.stride of the runs (default: 8)")
    parser.add_argument("--split-file", help="a published split, for preprocessing")
    parser.add_argument("--jobs", type=command.positive_int, default=2, help="number of runs at a time (default: 2)")
    parser.add_argument("--folder", type=Path, help="where stores and runs are kept (default: a temporary folder)")
    return parser.parse(arguments)


def _runs(iterations: int, composer: _Composer) -> dict[str, dict[str, Any]]:
    """Maps the name of each run to the settings in which it differs from the base model."""
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
        # The same number of windows, not of iterations.
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


def _settings(stride: int, iterations: int, max_parallel: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of a sweep file."""
    return {
        "device": "cpu",
        "data": {"stride": stride},
        "training": {"epochs": 1_000, "max_iterations": iterations},
        "sampling": {"threshold": _THRESHOLD},
        "slurm": {"cpus_per_task": 1, "max_parallel": max_parallel},
        "runs": runs,
    }


def _train(folder: Path, store: str, settings: dict[str, Any]) -> list[RunFigures]:
    """Submits a sweep to this machine; returns the figures of its runs."""
    sweep, out = folder / f"{store}.yaml", folder / f"{store}-runs"
    sweep.write_text(yaml_files.dump_yaml(settings))
    _run("jobs.sweep", "submit", sweep, "--store", folder / f"{store}.h5", "--out", out, "--cluster", "local")
    return [_read_figures(Run(path)) for path in sorted(out.glob("0*"))]


def _run(module: str, *arguments: object) -> None:
    _log.info("python -m %s %s", module, " ".join(map(str, arguments)))
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0:
        raise PianogenError(f"python -m {module} exited with {done.returncode}; see its messages above")


def _read_figures(run: Run) -> RunFigures:
    result = json.loads((run.path / "result.json").read_text())
    iterations_per_s = run.read_provenance().attempts[-1].iterations_per_s
    if iterations_per_s is None:
        raise PianogenError(f"the last attempt of {run.path} did not train: remove the folder and run this benchmark again")
    valid = result["held_out"]["valid"]["network"]
    return RunFigures(
        loss=result["loss"],
        valid_loss=result["valid_loss"],
        iterations_per_s=iterations_per_s,
        state_accuracy=valid["most_probable"]["state_accuracy"],
        onset_f1=valid["static_threshold"]["onset_f1"],
        nats_per_step=valid["nats_per_step"],
        predicted_notes_per_step=valid["most_probable"]["notes_per_step"],
        sample_notes_per_step=statistics.mean(sample["notes"] / sample["steps"] for sample in result["samples"]),
        sample_silent_share=statistics.mean(sample["silent_share"] for sample in result["samples"]),
    )


def _claims(runs: dict[str, RunFigures], composer: _Composer) -> list[Claim]:
    base, rests, gru = runs["base"], runs[_KEPT_RESTS], runs["gru"]
    dense = base.state_accuracy - runs["one dense layer"].state_accuracy
    deeper = base.valid_loss / runs["two LSTM layers"].valid_loss - 1
    faster = gru.iterations_per_s / base.iterations_per_s - 1
    notes = gru.sample_notes_per_step / base.sample_notes_per_step
    rates = {rate: base.valid_loss if rate == 0.002 else runs[f"rate {rate}"].valid_loss for rate in _RATES}
    batches = {64: base.loss, 128: runs["batch 128"].loss, 256: runs["batch 256"].loss}
    activations = {"softplus": base.valid_loss, "relu": runs["relu"].valid_loss, "sigmoid": runs["sigmoid"].valid_loss}
    few, many = runs[f"{_FEW_EPOCHS} epochs"], runs[f"{_MANY_EPOCHS} epochs"]
    spread = max(batches.values()) - min(batches.values())
    one = runs["one composer"].loss
    split = runs["split"].onset_f1
    return [
        Claim("two dense layers are 0.1 % more accurate than one", f"{100 * dense:+.3f} % of states", dense > 0),
        Claim("deeper LSTMs do not improve the loss", f"two layers: validation loss {-100 * deeper:+.1f} %", deeper < 0.01),
        Claim("a GRU is 10 to 15 % faster", f"{100 * faster:+.0f} % iterations per second on a CPU", faster > 0.05),
        Claim("a GRU plays more notes", f"{notes:.2f} times the notes in samples", notes > 1),
        Claim("0.002 is the best learning rate", _format_losses(rates), min(rates, key=lambda rate: rates[rate]) == 0.002),
        Claim("loss 0.015 +- 0.001 with any batch size", _format_losses(batches), spread < 0.002),
        Claim(
            "loss 0.013 on one composer, as on all",
            f"{composer.name} {one:.4f}, all {base.loss:.4f}",
            abs(one - base.loss) < 0.001,
        ),
        Claim(
            "softplus is best",
            _format_losses(activations),
            min(activations, key=lambda name: activations[name]) == "softplus",
        ),
        Claim(
            "20 to 25 epochs are best",
            f"validation loss after {_FEW_EPOCHS} epochs {few.valid_loss:.4f}, after {_MANY_EPOCHS} {many.valid_loss:.4f}",
            few.valid_loss <= many.valid_loss,
        ),
        Claim(
            "after 150 epochs the output is all zeros",
            _format_silence(many, few, "after 25"),
            many.sample_silent_share > 0.9,
        ),
        Claim(
            "kept rests teach silence",
            _format_silence(rests, base, "with trimmed rests"),
            rests.sample_silent_share > base.sample_silent_share,
        ),
        Claim("a split model cannot be trained", f"onset F1 {split:.3f}, base {base.onset_f1:.3f}", split <= base.onset_f1),
    ]


def _format_silence(run: RunFigures, other: RunFigures, name: str) -> str:
    shares = [100 * figures.sample_silent_share for figures in (run, other)]
    return f"samples are silent at {shares[0]:.0f} % of steps, {shares[1]:.0f} % {name}"


def _format_losses(losses: dict[Any, float]) -> str:
    return ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())


def _print_tables(figures: dict[str, RunFigures], claims: Sequence[Claim]) -> None:
    console = Console(width=150)
    runs = Table(box=None, header_style="bold")
    runs.add_column("run")
    for field in fields(RunFigures):
        runs.add_column(field.name.replace("_", " "), justify="right")
    for name, run in figures.items():
        runs.add_row(name, *(f"{value:.4g}" for value in asdict(run).values()))
    console.print(runs)
    table = Table(box=None, header_style="bold")
    for column in ("claim of the 2021 report", "our figures", "holds"):
        table.add_column(column)
    for claim in claims:
        table.add_row(claim.report, claim.ours, "yes" if claim.holds else "no")
    console.print(table)


if __name__ == "__main__":
    sys.exit(command.run(main))
