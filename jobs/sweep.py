"""Sweeps of training runs: submit, status, resubmit, cancel.

python -m jobs.sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --cluster local training.epochs=3
python -m jobs.sweep status runs/quick
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jobs.execution.cancel import cancel
from jobs.execution.launch import Cluster
from jobs.execution.resubmit import resubmit
from jobs.execution.submit import dry_run, submit
from jobs.records import status_table
from pianogen import command

_ACTIONS = ("submit", "status", "resubmit", "cancel")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.sweep`."""
    parser = _parser()
    options = parser.parse(arguments)
    target, overrides, cluster = options.target, options.overrides, options.cluster
    match options.action:
        case "status":
            return status_table.watch(target) if options.watch else status_table.show(target, options.json)
        case "resubmit":
            resubmit(target, overrides, cluster)
        case "cancel":
            cancel(target)
        case "submit":
            if options.store is None or options.out is None:
                parser.error("submit requires --store and --out")
            action = dry_run if options.dry_run else submit
            action(target, overrides, options.store, options.out, cluster, options.shared)
    return 0


def _parser() -> command.Parser:
    parser = command.Parser(
        prog="python -m jobs.sweep",
        description="submit    check every run of a sweep, create its directory, and queue its job\n"
        "status    show which runs are waiting, running, done or failed, and why\n"
        "resubmit  show why runs are not done, and submit those that are neither queued nor running\n"
        "cancel    cancel queued and running jobs; runs resume from their last checkpoint when resubmitted",
        epilog="examples:\n"
        "  python -m jobs.sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --dry-run\n"
        "  python -m jobs.sweep submit sweeps/quick.yaml --store corpus.h5 --out runs/quick --cluster local training.epochs=3\n"
        "  python -m jobs.sweep status runs/quick --watch\n"
        "  python -m jobs.sweep resubmit runs/quick slurm.memory_gb=32",
    )
    parser.add_argument("action", choices=_ACTIONS, metavar="|".join(_ACTIONS))
    parser.add_argument(
        "target", type=Path, metavar="SWEEP.yaml|runs/NAME", help="submit: the sweep file; others: a sweep directory or one run"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="submit: settings that override the sweep file; resubmit: settings that do not change the training, "
        "such as slurm.timeout=8:00:00 or sampling.primer=theme.mid",
    )
    parser.add_argument("--store", type=Path, help="submit: the corpus to train on")
    parser.add_argument("--out", type=Path, metavar="runs/NAME", help="submit: the sweep directory")
    parser.add_argument(
        "--cluster", choices=get_args(Cluster), default="slurm", help="submit, resubmit: where jobs run (default: slurm)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="submit: check everything, print the runs and the job script, write nothing"
    )
    parser.add_argument("--shared", action="store_true", help="submit: skip the check that the nodes see these paths")
    parser.add_argument("--json", action="store_true", help="status: print JSON")
    parser.add_argument("--watch", action="store_true", help="status: refresh every 15 s until no run is queued or running")
    return parser


if __name__ == "__main__":
    sys.exit(command.run(main))
