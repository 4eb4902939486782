"""The interface of a tracker, and the trackers of a run.

A tracker of your own is a class with these four methods and `errors`; `training.tracker: package.module:Class` uses it.
docs/trackers.md has an example.
"""

import importlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pianogen.errors import UsageError, cause
from pianogen.roll import Roll

History = Sequence[Mapping[str, float]]
MAX_SAMPLES, MAX_SOUND_S = 4, 300.0  # what the trackers of this package show
BUILT_IN = {"wandb": "pianogen.tracking.weights_and_biases:WeightsAndBiases"}
_PAUSE_S = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """The run that a tracker shows.

    Attributes:
        path: the directory of the run, in the directory of its sweep.
        identity: hash of its settings and its store; the same for every attempt.
        settings: by dotted key, such as `training.batch`.
    """

    path: Path
    identity: str
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Shows the course of a training."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The exceptions of the methods that mean the tracker cannot be reached. The training continues."""

    def start(self, run: TrackedRun, history: History) -> None:
        """Called at the start of every attempt.

        Args:
            history: the epochs of earlier attempts, as `log` received them; `iteration` and the metrics.
        """

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Called at the end of an epoch with its metrics, and within an epoch with the mean loss since the previous call."""

    def log_samples(self, iteration: int, rolls: Sequence[Roll]) -> None:
        """Called with the samples of the trained model."""

    def finish(self) -> None:
        """Called at the end of every attempt, after its records are written and an interrupted job is requeued."""


class Trackers:
    """The trackers of a run. The training does not depend on them: one that fails is left out for a minute.

    Trackers start when they are first needed: only then are the devices of TensorFlow set up, which a tracker may use.

    Args:
        trackers: not started.
        run: the run.
        read_history: the epochs of earlier attempts.
    """

    def __init__(self, trackers: Sequence[Tracker], run: TrackedRun, read_history: Callable[[], History]) -> None:
        self._waiting, self._started = list(trackers), list[Tracker]()
        self._run, self._read_history = run, read_history
        self._paused_until: dict[int, float] = {}  # by id, because trackers need not be hashable

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Logs metrics to all trackers."""
        self._start()
        self._call_all("log", iteration, values)

    def log_samples(self, iteration: int, rolls: Sequence[Roll]) -> None:
        """Logs samples to all trackers."""
        self._start()
        self._call_all("log_samples", iteration, rolls)

    def finish(self) -> None:
        """Ends all trackers."""
        self._call_all("finish")

    def _start(self) -> None:
        """Starts trackers, again after a failure."""
        for tracker in self._waiting:
            if self._call(tracker, "start", self._run, self._read_history()):
                self._started.append(tracker)
        self._waiting = [tracker for tracker in self._waiting if tracker not in self._started]

    def _call_all(self, method: str, *arguments: Any) -> None:
        for tracker in self._started:
            self._call(tracker, method, *arguments)

    def _call(self, tracker: Tracker, method: str, *arguments: Any) -> bool:
        """Calls a method of a tracker, unless the tracker has failed recently; returns whether the call succeeded."""
        if time.monotonic() < self._paused_until.get(id(tracker), 0):
            return False
        try:
            getattr(tracker, method)(*arguments)
        except tracker.errors as error:
            self._paused_until[id(tracker)] = time.monotonic() + _PAUSE_S
            name = type(tracker).__name__
            _log.warning("%s failed in %s, and is left out for %g s: %s", name, method, _PAUSE_S, error)
            return False
        return True


NO_TRACKERS = Trackers([], TrackedRun(Path(), "", {}), list)


def find_tracker(name: str) -> type[Tracker]:
    """The class of a tracker: "wandb", or `package.module:Class`.

    Raises:
        UsageError: there is none.
    """
    module, _, class_name = BUILT_IN.get(name, name).partition(":")
    try:
        tracker: type[Tracker] = getattr(importlib.import_module(module), class_name)
        if not isinstance(tracker, type):
            raise ImportError(f"{class_name} is not a class")
    except (ImportError, AttributeError, ValueError) as error:  # ValueError: the name of the module is empty
        action = f"install it with pip install '.[{name}]'" if name in BUILT_IN else "correct it, or add its folder to PYTHONPATH"
        expected = "expected wandb, or package.module:Class"
        raise UsageError(f"training.tracker {name} cannot be imported ({cause(error)}), {expected}; {action}") from error
    return tracker
