"""The stores of samples in the directory of a run."""

from pathlib import Path

from jobs.records.run_directory import Run


def find_sample_stores(run: Run) -> list[Path]:
    """The stores of a run's samples, those from the end of its training first; leftovers of killed writers are ignored."""
    paths = [path for path in run.path.glob("samples*.h5") if ".h5.tmp-" not in path.name]
    return sorted(paths, key=lambda path: path.stem)
