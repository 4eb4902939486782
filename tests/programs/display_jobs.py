"""Shows two jobs as `jobs.execution.local_processes` does: python display_jobs.py RUN RUN, with a record of the first."""

import sys
from pathlib import Path

from jobs.execution.job_display import JobDisplay
from pianogen import logs
from pianogen.progress import Progress, Stages

if __name__ == "__main__":
    logs.configure()
    first, second = sys.argv[1:]
    with Stages("check") as stages:
        stages.show("model", "2 of 3: gru")
    record = Path(first, "log", "progress.json")
    content = record.read_bytes()
    with Progress("train", 2, "jobs") as jobs:
        display = JobDisplay("train", jobs)
        display.start(first)
        record.write_bytes(content)  # as the job does, after the record of the attempt before was removed
        display.refresh([first], num_waiting=1)
        display.end(first, None, num_running=0, num_waiting=1)
        display.start(second)
        display.end(second, "ValueError: no space left", num_running=0, num_waiting=0)
