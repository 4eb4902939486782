"""The process of one run in a packed job: python -m jobs.execution.packed_run RUN, started by pack.py."""

import signal
import sys

from jobs.execution import shutdown
from jobs.execution.pack import INTERRUPTED
from jobs.execution.run_job import run_job
from pianogen import logs
from pianogen.errors import Interrupted


def main(run: str) -> int:
    """Makes one attempt; returns the exit code."""
    # The job sends SIGTERM until this process has ended; one that comes before or after the attempt must not kill it. The
    # process starts with these signals blocked.
    for number in shutdown.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, shutdown.SIGNALS)
    try:
        run_job(run, is_packed=True)
    except Interrupted as error:
        print(error, flush=True)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    logs.configure()
    sys.exit(main(sys.argv[1]))
