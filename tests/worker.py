"""One of several processes that train one run together: python tests/worker.py CONFIG STORE RUN RANK ADDRESS..."""

import sys
from pathlib import Path

from pianogen import config
from pianogen.store import Store
from pianogen.training import train
from pianogen.workers import Workers

if __name__ == "__main__":
    settings, path, run = (Path(text) for text in sys.argv[1:4])
    with Store(path) as store:
        train(config.parse(config.load_yaml(settings), "worker"), store, run, workers=Workers(int(sys.argv[4]), sys.argv[5:]))
