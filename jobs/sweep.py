"""A sweep: its runs submitted, and what became of them.

python -m jobs.sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --cluster local training.epochs=3
python -m jobs.sweep status runs/quick
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from jobs import grid, launch, rundir
from jobs.run import run_job
from jobs.rundir import Run
from pianogen import command, durable
from pianogen.store import Store

_METRICS = ("epoch", "loss", "valid_loss", "best_valid_loss", "constant_predictor_loss", "parameters")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.sweep`."""
    parser = command.Parser(
        prog="python -m jobs.sweep",
        description="Submit the runs of a sweep, or see what became of them.",
        epilog="examples:\n"
        "  python -m jobs.sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --cluster local training.epochs=3\n"
        "  python -m jobs.sweep status runs/quick",
    )
    parser.add_argument("action", choices=["submit", "status"], help="submit SWEEP.yaml [key=value …], or status runs/NAME")
    parser.add_argument("target", type=Path, metavar="SWEEP.yaml|runs/NAME", help="what to submit, or whose status to print")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="submit: laid over the sweep")
    parser.add_argument("--store", type=Path, help="submit: the corpus to train on")
    parser.add_argument("--out", type=Path, metavar="runs/NAME", help="submit: the sweep's directory")
    parser.add_argument("--cluster", choices=get_args(launch.Cluster), default="slurm", help="submit: where (default: slurm)")
    parser.add_argument("--dry-run", action="store_true", help="submit: print the runs and write nothing")
    parser.add_argument("--json", action="store_true", help="status: print JSON, for programs")
    options = parser.parse_intermixed_args(arguments)
    if options.action == "status":
        return _status(options.target, options.json)
    if options.store is None or options.out is None:
        parser.error("submit needs --store and --out")
    return _submit(options)


def _submit(options: argparse.Namespace) -> int:
    launch.check(options.cluster)
    values = grid.load_sweep(options.target, options.overrides)
    variations = grid.expand(values, options.target)
    with Store(options.store) as store:
        if options.dry_run:
            for variation in variations:
                print(f"{variation.label}  {variation.config.identity(store.fingerprint)[:12]}")
            print(f"{len(variations)} runs; nothing was written")
            return 0
        runs = rundir.prepare_runs(options.out, values, variations, store)
    todo = [run for run in runs if run.state()[0] != "done"]
    print(f"{options.out}: {len(runs)} runs, {len(runs) - len(todo)} of them done", flush=True)
    if todo:
        try:
            paths = [str(run.path.resolve()) for run in todo]
            launch.launch(options.cluster, run_job, paths, options.out / "jobs", variations[0].config.slurm, options.out.name)
        finally:
            _write_table(options.out)
    if options.cluster == "slurm":
        print(f"see them with: python -m jobs.sweep status {options.out}")
    return 0


def _status(out: Path, as_json: bool) -> int:
    rows = _write_table(out)
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    table = Table(box=None, header_style="bold")
    shown = ("epoch", "loss", "valid_loss", "valid_nats_per_step", "valid_onset_f1")
    for column in ("run", "state", *shown, "reason"):
        table.add_column(column.replace("_", " "))
    for row in rows:
        numbers = [f"{row[name]:.4g}" if isinstance(row[name], float | int) else "" for name in shown]
        table.add_row(row["run"], row["state"], *numbers, row["reason"])
    Console().print(table)
    return 0


def _write_table(out: Path) -> list[dict[str, Any]]:
    """Writes runs.csv; its rows."""
    rows = [_row(run) for run in rundir.open_runs(out)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    durable.write_text(out / "runs.csv", text.getvalue())
    return rows


def _row(run: Run) -> dict[str, Any]:
    state, reason = run.state()
    configured = run.read_config().model_dump(mode="json", include={"model", "data", "training", "sampling"})
    flat = {f"{section}.{key}": value for section, values in configured.items() for key, value in values.items()}
    result = run.read_result() or {}
    measured = {name: result.get(name) for name in _METRICS}
    return {"run": run.name, "state": state, "reason": reason, **flat, **measured, **_held_out(result)}


def _held_out(result: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of the evaluation on the valid split."""
    network = result.get("held_out", {}).get("valid", {}).get("network", {})
    best = network.get("static_threshold", {})
    return {"valid_nats_per_step": network.get("nats_per_step"), "valid_onset_f1": best.get("onset_f1")}


if __name__ == "__main__":
    sys.exit(command.run(main))
