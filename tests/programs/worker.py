"""One of the workers that train a run together: python tests/programs/worker.py CONFIG STORE RUN RANK ADDRESS...

The clocks of all ranks but 0 run fast, as if their calls took longer; the workers must still agree on the length of calls.
"""

import sys
import time
from pathlib import Path

from jobs.configuration import run_config
from pianogen import yaml_files
from pianogen.data.statistics import train_statistics
from pianogen.store import Store
from pianogen.training.loop import train
from pianogen.training.resources import Workers

if __name__ == "__main__":
    clock, rank = time.monotonic, int(sys.argv[4])
    time.monotonic = lambda: clock() * (1 + 50 * rank)
    settings, path, run = (Path(text) for text in sys.argv[1:4])
    with Store(path) as store:
        parsed = run_config.parse(yaml_files.load_yaml(settings), "worker")
        train(parsed, store, train_statistics(store, parsed.data), run, parsed.devices, Workers(rank, sys.argv[5:]))
