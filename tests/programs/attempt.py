"""One attempt of a run, as a job makes it, in a process of its own: python tests/programs/attempt.py RUN."""

import sys

from jobs.execution.run_job import run_job
from pianogen.errors import Interrupted

if __name__ == "__main__":
    try:
        run_job(sys.argv[1])
    except Interrupted as error:
        print(error)
        sys.exit(3)
