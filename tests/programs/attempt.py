"""One attempt of a run, as a job makes it, in a separate process: python tests/programs/attempt.py RUN."""

import sys

from jobs.execution.run_job import run_job
from pianogen import logs
from pianogen.errors import Interrupted

if __name__ == "__main__":
    logs.configure()
    try:
        run_job(sys.argv[1])
    except Interrupted as error:
        print(error)
        sys.exit(3)
