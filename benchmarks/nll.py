"""Next-step likelihood on the four sets of frames on which such models are compared, beside the published figures.

    python -m benchmarks.nll mdata/ --out nll

Uses the suite as a user does: the frames become a store, the runs of sweeps/benchmark.yaml are trained on it, and the figures are
those of their result.json. It takes about 45 minutes of one core.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.support.frames import SETS, write_frames
from jobs.configuration import grid
from jobs.execution.launch import Cluster
from jobs.execution.submit import Checks, submit
from jobs.records import status_table, sweep_directory
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.errors import PianogenError
from pianogen.store import Split, Store

SWEEP = Path(__file__).parents[1] / "sweeps" / "benchmark.yaml"
_CONVENTIONS = """\
Nats per frame on the test split: the negative log-likelihood of a frame given all earlier ones, its 88 keys together, averaged
over all frames of all sequences, the first ones included. Each sequence is read from its first frame. Lower is better.
A frame is a quarter note in JSB_Chorales and an eighth note in the other sets. Published splits.
(bound): an upper bound of the negative log-likelihood. (unchecked): not checked against the paper."""


class Published(NamedTuple):
    """Figures of a paper: nats per frame for each of SETS, None where the paper has none."""

    model: str
    nats: tuple[float | None, float | None, float | None, float | None]


PUBLISHED = (
    Published("RNN (Boulanger-Lewandowski et al. 2012)", (8.71, 4.46, 8.37, 8.13)),
    Published("RNN-NADE, Hessian-free (Boulanger-Lewandowski et al. 2012)", (5.56, 2.31, 7.05, 5.60)),
    Published("GRU (Chung et al. 2014)", (8.54, 3.23, 8.82, 5.99)),
    Published("LSTM (Chung et al. 2014)", (8.67, 3.20, 9.03, 6.23)),
    Published("DMM-Aug-NADE (Krishnan et al. 2017)", (5.12, 2.31, 7.05, 6.05)),
    Published("LSTM (Bai et al. 2018)", (8.45, 3.29, None, None)),
    Published("TCN (Bai et al. 2018)", (8.10, 3.07, None, None)),
    Published("NASMC (Gu et al. 2015) (unchecked)", (3.99, 2.72, 7.61, 6.89)),
    Published("DBN-LSTM (Vohra et al. 2015), disputed (unchecked)", (3.47, 1.32, 4.63, 3.91)),
    Published("SRNN (Fraccaro et al. 2016) (bound) (unchecked)", (4.74, 2.94, 8.20, 6.28)),
    Published("FIVO (Maddison et al. 2017) (bound) (unchecked)", (4.08, 2.29, 6.41, 5.80)),
    Published("BALSTM (Johnson 2017) (unchecked)", (5.05, 1.55, 4.90, 3.90)),
    Published("low-rank HMM (Chiu et al. 2021) (unchecked)", (5.80, 2.60, 8.89, 7.60)),
)


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The figures of a run; likelihoods in nats per frame.

    Attributes:
        set: name of the set.
        copies: whether the model reads what followed the longest match.
        markov, marginal: test nats of the trivial predictors.
        cpu_min: CPU time of all its attempts: training, validation, evaluation and a sample.
        left_out: training sequences that are shorter than a window.
    """

    run: str
    set: str
    copies: bool
    seed: int
    valid: float
    test: float
    markov: float
    marginal: float
    parameters: int
    iterations: int
    cpu_min: float
    left_out: int


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.nll`."""
    parser = command.Parser(
        prog="python -m benchmarks.nll",
        description="Train the joint model, with and without copies, on the four sets of Boulanger-Lewandowski et al. 2012, and\n"
        "print its test likelihood beside the published figures. Prints tables; the last line is one JSON object.\n"
        "With --out, the same command resumes an interrupted benchmark.",
        epilog="examples:\n"
        "  python -m benchmarks.nll mdata/ --out nll\n"
        "  python -m benchmarks.nll mdata/ --out seeds 'grid.training.seed=[0, 1, 2]' slurm.max_parallel=1",
    )
    parser.add_argument("data", type=Path, help=f"the folder of {', '.join(f'{name}.mat' for name in SETS)}")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that override sweeps/benchmark.yaml")
    parser.add_argument("--out", type=Path, help="where the store and the runs are kept (default: a temporary folder)")
    parser.add_argument("--cluster", choices=get_args(Cluster), default="local", help="where jobs run (default: local)")
    options = parser.parse(arguments)
    with tempfile.TemporaryDirectory(prefix="pianogen-nll-") as temporary:
        out = options.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        store = out / "frames.h5"
        write_frames(options.data, store)
        runs = _train(store, out / "runs", options.overrides, options.cluster)
        with Store(store) as opened:
            figures = [_read_figures(run, opened) for run in runs]
    _print_tables(figures)
    print(json.dumps({"benchmark": "nll", "runs": [asdict(run) for run in figures]}))
    return 0


def _train(store: Path, out: Path, overrides: Sequence[str], cluster: Cluster) -> list[Run]:
    """Submits the sweep and waits for its runs.

    Raises:
        PianogenError: a run is not done.
    """
    variations = grid.expand(grid.load_sweep(SWEEP, overrides), SWEEP)
    with Store(store) as opened:
        identities = [variation.config.identity(opened.fingerprint) for variation in variations]
    submit(SWEEP, overrides, store, out, cluster, Checks())
    if cluster == "slurm":
        status_table.watch(out)
    runs = sweep_directory.find_runs(out)
    return [runs[identity] for identity in identities]


def _read_figures(run: Run, store: Store) -> RunFigures:
    result, config, attempts = run.read_result(), run.read_config(), run.read_provenance().attempts
    if result is None:
        raise PianogenError(f"{run.path} is not done: see pianogen sweep status {run.sweep}, then run this command again")
    trivial = result.held_out["test"]["trivial"]
    pieces = store.pieces
    is_trained = (pieces.split == Split.TRAIN) & np.isin(pieces.group, config.data.groups)
    return RunFigures(
        run=run.name,
        set="+".join(config.data.groups),
        copies=config.model.copies,
        seed=config.training.seed,
        valid=result.held_out["valid"]["network"]["nats_per_step"],
        test=result.held_out["test"]["network"]["nats_per_step"],
        markov=trivial["markov"]["nats_per_step"],
        marginal=trivial["marginal"]["nats_per_step"],
        parameters=result.parameters,
        iterations=int(result.metrics["iteration"]),
        cpu_min=sum(attempt.cpu_s or 0.0 for attempt in attempts) / 60,
        left_out=int((pieces.steps[is_trained] < config.data.window_steps).sum()),
    )


def _print_tables(runs: Sequence[RunFigures]) -> None:
    console = Console(width=150)
    console.print(_runs_table(runs))
    console.print(_comparison(runs))
    console.print(_CONVENTIONS, highlight=False)


def _runs_table(runs: Sequence[RunFigures]) -> Table:
    table = Table(box=None, header_style="bold")
    columns = ("valid nats", "test nats", "parameters", "iterations", "CPU min", "sequences left out")
    table.add_column("run")
    for column in columns:
        table.add_column(column, justify="right")
    for run in runs:
        numbers = (f"{run.parameters:,}", f"{run.iterations:,}", f"{run.cpu_min:.1f}", str(run.left_out))
        table.add_row(run.run, f"{run.valid:.3f}", f"{run.test:.3f}", *numbers)
    return table


def _comparison(runs: Sequence[RunFigures]) -> Table:
    """The test nats of the joint model, means over the seeds, and of the trivial predictors, above the published ones."""
    table = Table(box=None, header_style="bold")
    table.add_column("test nats")
    for name in SETS:
        table.add_column(name, justify="right")

    def add(model: str, nats: Sequence[float | None]) -> None:
        table.add_row(model, *("–" if value is None else f"{value:.2f}" for value in nats))

    def means(attribute: str, **values: Any) -> list[float | None]:
        chosen = [run for run in runs if all(getattr(run, name) == value for name, value in values.items())]
        of_set = [[getattr(run, attribute) for run in chosen if run.set == name] for name in SETS]
        return [statistics.mean(figures) if figures else None for figures in of_set]

    add("joint, with copies", means("test", copies=True))
    add("joint, without copies", means("test", copies=False))
    add("trivial: per-key Markov chain", means("markov"))
    add("trivial: per-key marginal", means("marginal"))
    table.add_row()
    table.add_row("published", style="bold")
    for published in PUBLISHED:
        add(*published)
    return table


if __name__ == "__main__":
    sys.exit(command.run(main))
