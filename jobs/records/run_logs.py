"""The logs of runs on the terminal."""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jobs.records.run_directory import Run
from jobs.records.selection import open_selected
from pianogen.errors import UsageError

_POLL_S = 0.5


def show(target: Path, selection: Sequence[str], follow: bool) -> None:
    """Prints the log of the last attempt of each run.

    Args:
        follow: prints what is appended, until Ctrl-C; of a single run.

    Raises:
        UsageError: no run has a log yet, or several are to be followed.
    """
    runs = open_selected(target, selection)
    if follow and len(runs) > 1:
        raise UsageError(f"{len(runs)} runs are selected, but only one log can be followed; select a run by its number")
    logs = {run: log for run in runs if (log := last_log(run))}
    if not logs:
        raise UsageError(f"no selected run of {target} has a log yet; see pianogen sweep status {target}")
    for log in logs.values():
        print(f"==> {log} <==", flush=True)
        with log.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            while follow:
                time.sleep(_POLL_S)
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()


def last_log(run: Run) -> Path | None:
    """The log of the last attempt of a run, None before the first one."""
    attempts = run.read_provenance().attempts
    log = run.path / attempts[-1].log if attempts else None
    return log if log is not None and log.is_file() else None
