"""The trackers of a run, from the start of an attempt to its end."""

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.records.run_directory import Run
from pianogen.config import flatten
from pianogen.tracking.tracker import TrackedRun, Trackers, find_tracker
from pianogen.training.history import read_history


@contextmanager
def tracked(run: Run, tracker: str | None) -> Iterator[Trackers]:
    """The trackers: TensorBoard, and the one that `training.tracker` names.

    Raises:
        UsageError: the tracker cannot be imported.
    """
    from pianogen.tracking.tensorboard import TensorBoard  # loads TensorFlow

    provenance = run.read_provenance()
    tracked_run = TrackedRun(run.path, provenance.identity, flatten(provenance.config))
    chosen = [TensorBoard(), *([find_tracker(tracker)()] if tracker else [])]
    trackers = Trackers(chosen, tracked_run, lambda: read_history(run.path / "metrics.csv"))
    try:
        yield trackers
    finally:
        trackers.finish()
