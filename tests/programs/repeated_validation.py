"""A training that is interrupted in its second validation, and resumed.

python tests/programs/repeated_validation.py CONFIG STORE RUN

Between the two attempts, metrics.csv is the first three lines of that beside CONFIG: it has the row of the second epoch, as if an
earlier attempt had been killed between that row and its checkpoint.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jobs.configuration import run_config
from pianogen import yaml_files
from pianogen.data.statistics import train_statistics
from pianogen.errors import Interrupted
from pianogen.store import Store
from pianogen.training import loop
from pianogen.training.validation import Validation

num_validations = 0


class CountedValidation(Validation):
    """A validation that counts its calls."""

    def sums(self) -> Iterator[np.ndarray]:
        global num_validations
        num_validations += 1
        return super().sums()


if __name__ == "__main__":
    settings, path, run = (Path(text) for text in sys.argv[1:])
    loop.Validation = CountedValidation  # type: ignore[attr-defined]
    parsed = run_config.parse(yaml_files.load_yaml(settings), "repeated_validation")
    with Store(path) as store:
        statistics = train_statistics(store, parsed.data)
        try:
            loop.train(parsed, store, statistics, run, shutdown_requested=lambda: num_validations == 2)
        except Interrupted:
            rows = settings.with_name("metrics.csv").read_text().splitlines(keepends=True)
            (run / "metrics.csv").write_text("".join(rows[:3]))
            loop.train(parsed, store, statistics, run)
        else:
            sys.exit("the training was not interrupted")
