"""The logs of runs on the terminal."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jobs.records.run_directory import Run
from jobs.records.selection import open_selected
from pianogen import streams
from pianogen.errors import UsageError

_POLL_S = 0.5


def show(target: Path, selection: Sequence[str], follow: bool) -> None:
    """Prints the log of the last attempt of each run.

    Args:
        follow: prints what is appended, and the logs of later attempts, until Ctrl-C or until the reader of the output
            exits; only for a single run.

    Raises:
        UsageError: no run has a log yet, or several are to be followed.
    """
    runs = open_selected(target, selection)
    if follow and len(runs) > 1:
        raise UsageError(f"{len(runs)} runs are selected, but only one log can be followed; select a run by its number")
    logs = {run: log for run in runs if (log := last_log(run))}
    if not logs:
        raise UsageError(f"no selected run of {target} has a log yet; see pianogen sweep status {target}")
    for run, log in logs.items():
        if follow:
            _follow(run, log)
        else:
            _print_log(log)


def _print_log(log: Path, until: Callable[[], bool] = lambda: True) -> None:
    """Prints a log, and what is appended to it until a condition is true."""
    print(f"==> {log} <==", flush=True)
    with log.open("rb") as file:
        is_last = False
        while not is_last:
            is_last = until()  # before the last look at the file: an attempt writes its last line before the next one begins
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            time.sleep(0 if is_last else _POLL_S)


def _follow(run: Run, log: Path) -> None:
    """Prints a log, what is appended to it, and the logs of later attempts, such as those after a requeue."""
    while streams.is_output_read():
        _print_log(log, lambda: last_log(run) not in (None, log) or not streams.is_output_read())  # noqa: B023 - called at once
        log = last_log(run) or log


def last_log(run: Run) -> Path | None:
    """The log of the last attempt of a run, None before the first one."""
    attempts = run.read_provenance().attempts
    log = run.path / attempts[-1].log if attempts else None
    return log if log is not None and log.is_file() else None
