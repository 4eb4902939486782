"""A job that records its environment: the function is called in processes of `local_processes`."""

import json
import os
from pathlib import Path

from tests.support.processes import wait_until


def write_environment(path: str, num_processes: int) -> None:
    """Writes the environment variables as JSON, and waits until this number of processes have done so in the same folder."""
    Path(path).write_text(json.dumps(dict(os.environ)))
    wait_until(lambda: len(list(Path(path).parent.iterdir())) == num_processes, f"{num_processes} processes at a time")
