"""One of several processes that train one run together: python tests/programs/worker.py CONFIG STORE RUN RANK ADDRESS...

The clock of the second runs fast, as if its calls took longer: workers must agree all the same.
"""

import sys
import time
from pathlib import Path

from pianogen import config
from pianogen.store import Store
from pianogen.training.loop import train
from pianogen.training.workers import Workers

if __name__ == "__main__":
    clock, rank = time.monotonic, int(sys.argv[4])
    time.monotonic = lambda: clock() * (1 + 50 * rank)
    settings, path, run = (Path(text) for text in sys.argv[1:4])
    with Store(path) as store:
        train(config.parse(config.load_yaml(settings), "worker"), store, run, workers=Workers(rank, sys.argv[5:]))
