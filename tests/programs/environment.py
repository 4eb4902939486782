"""A job that records its environment: the function is called in a process of `local_processes`."""

import json
import os
from pathlib import Path


def write_environment(path: str) -> None:
    """Writes the environment variables as JSON."""
    Path(path).write_text(json.dumps(dict(os.environ)))
