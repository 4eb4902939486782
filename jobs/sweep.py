"""Sweeps of training runs: submit, status, resubmit, promote, cancel, logs, options.

pianogen sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --cluster local training.epochs=3
pianogen sweep status runs/quick
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jobs.configuration.options import describe_options
from jobs.configuration.settings import parse_override, parse_overrides
from jobs.execution.cancel import cancel
from jobs.execution.launch import Cluster
from jobs.execution.promote import promote
from jobs.execution.resubmit import resubmit
from jobs.execution.submit import Checks, dry_run, submit
from jobs.records import run_logs, status_table
from jobs.records.seed_table import make_seed_table
from jobs.records.usage_table import make_usage_table
from pianogen import command
from pianogen.command import Parser, Subcommand
from pianogen.errors import UsageError

_PROG = "pianogen sweep"
# In resubmit and promote, settings of these sections select runs, with one exception; all other settings override.
_SELECTED, _OVERRIDING = ("model.", "data.", "training."), ("training.tracker",)
_SELECTION = "which runs: numbers (3), ranges (5-9), settings (model.name=gru); all runs if not given"


def main(arguments: Sequence[str]) -> int:
    """The command `pianogen sweep`."""
    subcommands = {
        "submit": Subcommand("check every run of a sweep, create its directory, and queue its job", _submit),
        "status": Subcommand("show which runs are waiting, running, done or failed, and why", _status),
        "resubmit": Subcommand("submit the runs that are neither done, queued nor running", _resubmit),
        "promote": Subcommand("continue the best runs with more epochs", _promote),
        "cancel": Subcommand("cancel queued and running jobs; their runs can be resubmitted", _cancel),
        "logs": Subcommand("print the logs of runs", _logs),
        "options": Subcommand("list every key of a sweep file with its type, default and meaning", _options),
    }
    return command.run_subcommand(_PROG, "Train the models of a sweep file on a store.", subcommands, arguments)


def _submit(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{_PROG} submit",
        description="Check every run of a sweep, create its directory, and queue its job. Runs that are done, queued or\n"
        "running are not submitted again, so the same command continues an interrupted submission. On Slurm, failed\n"
        "runs are left to `resubmit`; with --cluster local or debug they are tried again.",
        epilog="examples:\n"
        f"  {_PROG} submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --dry-run\n"
        f"  {_PROG} submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --cluster local training.epochs=3",
    )
    parser.add_argument("sweep", type=Path, metavar="SWEEP.yaml", help="the sweep file")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="settings that override the sweep file; see `pianogen sweep options`",
    )
    parser.add_argument("--store", type=Path, required=True, help="the corpus to train on")
    parser.add_argument("--out", type=Path, required=True, metavar="runs/NAME", help="the sweep directory")
    _add_cluster(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, print the runs and the job script, write nothing"
    )
    parser.add_argument(
        "--prune", action="store_true", help="remove the runs that are no longer in the sweep file, with all of their files"
    )
    parser.add_argument("--shared", action="store_true", help="skip the check that the compute nodes see --store and --out")
    parser.add_argument(
        "--no-check-models",
        action="store_true",
        help="skip the smoke test, which takes some seconds of one core; for login nodes that forbid it",
    )
    options = parser.parse(arguments)
    checks = Checks(paths=not options.shared, models=not options.no_check_models)
    action = dry_run if options.dry_run else submit
    action(options.sweep, options.overrides, options.store, options.out, options.cluster, checks, options.prune)
    return 0


def _status(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{_PROG} status",
        description="Show which runs are waiting, running, done or failed, and why; and update runs.csv.",
        epilog="examples:\n"
        f"  {_PROG} status runs/mine --watch\n"
        f"  {_PROG} status runs/mine 3 5-9 model.name=gru\n"
        f"  {_PROG} status runs/mine --usage",
    )
    _add_target(parser)
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--json", action="store_true", help="print JSON, with the figures of all tables")
    views.add_argument("--usage", action="store_true", help="show the time, CPUs and memory that the runs used and requested")
    views.add_argument("--seeds", action="store_true", help="show the mean and spread of runs that differ only in training.seed")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="refresh until no run is queued or running; without a terminal, print a line for every change",
    )
    options = parser.parse(arguments)
    if others := [name for name in ("json", "usage", "seeds") if options.watch and getattr(options, name)]:
        raise UsageError(f"--watch shows the table of runs; leave out --{others[0]} or --watch")
    if options.watch:
        return status_table.watch(options.target, options.selection)
    make_table = make_usage_table if options.usage else make_seed_table if options.seeds else None
    return status_table.show(options.target, options.json, options.selection, make_table)


def _resubmit(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{_PROG} resubmit",
        description="Show why runs are not done, and submit those that are neither queued nor running. They resume from\n"
        "their last checkpoint.",
        epilog=f"examples:\n  {_PROG} resubmit runs/mine slurm.memory_gb=32\n  {_PROG} resubmit runs/mine 3 5-9 --from-scratch",
    )
    also = "; settings of model, data and training select runs, others, such as slurm.timeout=8:00:00, override those of the runs"
    _add_target(parser, also)
    _add_cluster(parser)
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="remove the checkpoints, metrics, model and samples of the runs, and train from iteration 0; includes runs that are "
        "done only if SELECTION names them",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be submitted; submit and write nothing")
    options = parser.parse(arguments)
    selection, overrides = _split(options.selection)
    resubmit(options.target, selection, overrides, options.cluster, options.dry_run, options.from_scratch)
    return 0


def _promote(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{_PROG} promote",
        description="Continue the best runs of a sweep with more epochs. Each continues as a new run, which starts from the\n"
        "checkpoint of the old one and ends with the same weights as a run that was submitted with that many\n"
        "epochs. The best runs have the lowest negative log-likelihood on the valid split.",
        epilog=f"example:\n  {_PROG} promote runs/mine --top 8 training.epochs=100",
    )
    _add_target(
        parser,
        "; settings of model, data and training select runs; training.epochs and other settings are those of the new runs",
    )
    parser.add_argument("--top", type=command.positive_int, default=1, metavar="N", help="number of runs (default: 1)")
    _add_cluster(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what would be submitted; submit and write nothing")
    options = parser.parse(arguments)
    selection, overrides = _split(options.selection, "training.epochs")
    if "training.epochs" not in parse_overrides(overrides):
        raise UsageError("training.epochs=N is missing; give the number of epochs of the new runs")
    promote(options.target, selection, options.top, overrides, options.cluster, options.dry_run)
    return 0


def _split(texts: Sequence[str], *overriding: str) -> tuple[list[str], list[str]]:
    """Splits arguments into the selection of runs and the settings that override those of the runs.

    Args:
        overriding: settings that override, although other settings of their section select runs.
    """

    def is_override(text: str) -> bool:
        stated = parse_override(text) if "=" in text else {}
        return any(key in (*overriding, *_OVERRIDING) or not key.startswith(_SELECTED) for key in stated)

    overrides = [text for text in texts if is_override(text)]
    return [text for text in texts if text not in overrides], overrides


def _cancel(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{_PROG} cancel",
        description="Cancel queued and running jobs. Running ones write a checkpoint; resubmitted runs resume from it.",
        epilog=f"examples:\n  {_PROG} cancel runs/mine\n  {_PROG} cancel runs/mine model.name=gru --dry-run",
    )
    _add_target(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what would be cancelled; cancel nothing")
    options = parser.parse(arguments)
    cancel(options.target, options.selection, options.dry_run)
    return 0


def _logs(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{_PROG} logs",
        description="Print the log of the last attempt of each run.",
        epilog=f"examples:\n  {_PROG} logs runs/mine 3\n  {_PROG} logs runs/mine 3 --follow",
    )
    _add_target(parser)
    parser.add_argument(
        "-f", "--follow", action="store_true", help="follow the log of a single run, also in later attempts, until Ctrl-C"
    )
    options = parser.parse(arguments)
    run_logs.show(options.target, options.selection, options.follow)
    return 0


def _options(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog=f"{_PROG} options",
        description="List every key of a sweep file with its type, default and meaning.",
        epilog=f"examples:\n  {_PROG} options\n  {_PROG} options training",
    )
    parser.add_argument("prefix", nargs="?", default="", metavar="SECTION", help="list only keys that begin with this text")
    print(describe_options(parser.parse(arguments).prefix))
    return 0


def _add_target(parser: Parser, also: str = "") -> None:
    parser.add_argument("target", type=Path, metavar="runs/NAME|RUN", help="a sweep directory or one run")
    parser.add_argument("selection", nargs="*", default=[], metavar="SELECTION", help=_SELECTION + also)


def _add_cluster(parser: Parser) -> None:
    parser.add_argument("--cluster", choices=get_args(Cluster), default="slurm", help="where jobs run (default: slurm)")


if __name__ == "__main__":
    sys.exit(command.run(main))
