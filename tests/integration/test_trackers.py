"""Trackers over an interruption: TensorBoard, Weights & Biases in offline mode, and one of the user."""

import doctest
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from jobs.records.run_directory import Run
from pianogen.errors import UsageError
from pianogen.store import Split
from pianogen.tracking.tracker import TrackedRun, Trackers, find_tracker
from pianogen.tracking.weights_and_biases import WeightsAndBiases
from pianogen.training.history import read_history
from tests.support.made_music import made_store
from tests.support.paths import ROOT
from tests.support.processes import ENVIRONMENT, finished, wait_until
from tests.support.runs import attempt, iteration_of, prepare
from tests.support.wandb_file import read_history as read_wandb_history
from tests.support.wandb_file import read_run


def test_trackers_continue_their_run_after_an_interruption(tmp_path: Path) -> None:
    store = made_store(tmp_path / "corpus.h5", [Split.TRAIN] * 2 + [Split.VALID], steps=220)
    training = {"batch": 8, "epochs": 4, "tracker": "wandb"}
    run = prepare(tmp_path / "sweep", store, training=training)
    process = subprocess.Popen(attempt(run), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(read_history(run.path / "metrics.csv")) >= 2 or process.poll() is not None, "two epochs")
    process.send_signal(signal.SIGUSR2)
    assert process.wait(60) == 3
    assert iteration_of(run) > 0
    assert finished(attempt(run)).returncode == 0

    rows = read_history(run.path / "metrics.csv")
    assert len(rows) == 4
    files = sorted((run.path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    first, second = (read_run(path) for path in files)
    assert (first.run_id, first.display_name, first.run_group) == (second.run_id, run.name, "sweep")
    settings = {update.key: json.loads(update.value_json) for update in second.config.update}
    assert settings["training.batch"] == 8
    assert settings["identity"] == run.read_provenance().identity
    logged = read_wandb_history(files[1])
    assert [row["valid_loss"] for row in logged if "valid_loss" in row] == [row["valid_loss"] for row in rows]
    assert any("sample 0" in row and "sound 1" in row for row in logged)

    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    losses: dict[int, float] = {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("valid_loss")}
    assert losses == {int(row["iteration"]): np.float32(row["valid_loss"]) for row in rows}
    plugins = {name: events.summary_metadata[name].plugin_data.plugin_name for name in events.Tags()["tensors"]}
    assert (plugins["iteration_loss"], plugins["_hparams_/session_start_info"]) == ("scalars", "hparams")
    assert (plugins["sample 0"], plugins["sound 0"]) == ("images", "audio")
    assert "iteration" not in plugins


class Witness:
    """A tracker that writes what the record of the attempt says when the tracker ends."""

    errors = (OSError,)

    def start(self, run: TrackedRun, *_: Any) -> None:
        self.run = Run(run.path)

    def log(self, *_: Any) -> None:
        pass

    def log_samples(self, *_: Any) -> None:
        pass

    def finish(self) -> None:
        outcome = self.run.read_provenance().attempts[-1].outcome
        with (self.run.path / "witness.txt").open("a") as file:
            file.write(f"{outcome} {self.run.read_result() is not None}\n")


def test_trackers_end_after_the_records_of_an_attempt(tmp_path: Path) -> None:
    """A tracker may wait for a network when it ends; a job that was signalled must have its records, and be requeued, before."""
    store = made_store(tmp_path / "corpus.h5", [Split.TRAIN] * 2 + [Split.VALID], steps=220)
    run = prepare(tmp_path / "sweep", store, training={"batch": 8, "epochs": 4, "tracker": f"{__name__}:Witness"})
    process = subprocess.Popen(attempt(run), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(read_history(run.path / "metrics.csv")) >= 1 or process.poll() is not None, "one epoch")
    process.send_signal(signal.SIGUSR2)
    assert process.wait(60) == 3
    assert finished(attempt(run)).returncode == 0
    assert (run.path / "witness.txt").read_text().splitlines() == ["interrupted False", "finished True"]


class Unreachable:
    """A tracker whose server is down."""

    errors = (ConnectionError,)

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, *_: Any) -> None:
        self.calls.append("start")

    def log(self, *_: Any) -> None:
        self.calls.append("log")
        raise ConnectionError("no route to host")

    def log_samples(self, *_: Any) -> None:
        self.calls.append("log_samples")

    def finish(self) -> None:
        self.calls.append("finish")


def test_tracker_that_cannot_be_reached_is_left_out_for_a_while(tmp_path: Path) -> None:
    tracker = Unreachable()
    trackers = Trackers([tracker], TrackedRun(tmp_path, "identity", {}), list)
    trackers.log(1, {"loss": 1.0})
    trackers.log(2, {"loss": 1.0})
    trackers.finish()
    assert tracker.calls == ["start", "log"]


def test_example_of_the_documentation_is_a_tracker(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    assert doctest.testfile(str(ROOT / "docs" / "trackers.md"), module_relative=False, extraglobs=names).failed == 0
    runner = doctest.DocTestRunner()
    example = doctest.DocTestParser().get_doctest((ROOT / "docs" / "trackers.md").read_text(), names, "trackers", None, 0)
    runner.run(example, clear_globs=False)
    trackers = Trackers([example.globs["JsonLines"]()], TrackedRun(tmp_path, "identity", {"training.batch": 8}), list)
    trackers.log(5, {"loss": 0.5})
    trackers.log_samples(5, [])
    trackers.finish()
    lines = [json.loads(line) for line in (tmp_path / "tracker.jsonl").read_text().splitlines()]
    assert lines[1:] == [{"iteration": 5, "loss": 0.5}, {"iteration": 5, "notes": []}, {"finished": True}]


def test_tracker_is_found_by_name() -> None:
    assert find_tracker("wandb") is WeightsAndBiases
    assert find_tracker(f"{__name__}:Unreachable") is Unreachable
    for name in ("wandv", "json:Tracker", "json:decoder", "no.module:Tracker"):
        with pytest.raises(UsageError, match="cannot be imported"):
            find_tracker(name)
