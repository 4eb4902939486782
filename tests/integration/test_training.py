"""Training in processes that are killed or receive signals, and on several replicas and workers, has the same result."""

import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from jobs import sweep
from jobs.configuration import run_config
from jobs.records.run_directory import Run
from pianogen import command, yaml_files
from pianogen.data.statistics import train_statistics
from pianogen.data.windows import find_windows
from pianogen.store import Split, Store
from pianogen.training.checkpoints import variables_of
from pianogen.training.history import read_history
from pianogen.training.resources import Workers
from pianogen.training.trained_model import load_trained_model
from pianogen.training.validation import Validation
from tests.support.made_music import made_store
from tests.support.paths import PROGRAMS
from tests.support.processes import ENVIRONMENT, finished, wait_until
from tests.support.runs import SETTINGS, are_equal, attempt, iteration_of, prepare, state_of, weights_of

SPLITS = [Split.TRAIN] * 6 + [Split.VALID]
# The best epoch is not the last one.
MODERN = {
    "batch": 8,
    "epochs": 4,
    "patience": 2,
    "optimizer": "adamw",
    "beta_2": 0.99,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup_iterations": 10,
    "clip_norm": 0.05,
    "average": 0.9,
}
# Every piece of its state takes part: copies, averaged weights, dropout, transposition.
JOINT = {
    "model": {"name": "joint", "units": 4},
    "data": {"window_steps": 12, "transpose": 2},
    "training": {"batch": 8, "epochs": 4},
    "sampling": {"num": 2, "steps": 12},
    "checkpoints": {"every_iterations": 9},
}
# Dropout depends on the number of replicas. At the kink of a rectifier rounding becomes a difference of the size of the learning
# rate, which grows with every further iteration: few small iterations, in two epochs.
JOINT_WITHOUT_DROPOUT = JOINT | {
    "model": {"name": "joint", "units": 16},
    "training": {"batch": 16, "learning_rate": 0.0001, "warmup_iterations": 0, "dropout": 0.0, "max_iterations": 10},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_store(tmp_path_factory.mktemp("store") / "corpus.h5", SPLITS, steps=220)


# Replicas and sections of the runs that are interrupted.
SCENARIOS: dict[str, tuple[int, dict[str, Any]]] = {
    "report": (1, {}),
    "modern-replicas": (2, {"training": MODERN}),
    "joint": (1, JOINT),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Callable[[str], Run]:
    """Gives the run of a scenario, done in one attempt; tests only read it."""

    @cache
    def finished_run(name: str) -> Run:
        replicas, sections = SCENARIOS[name]
        run = prepare(tmp_path_factory.mktemp("uninterrupted") / name, store, logical_devices=replicas, **sections)
        assert finished(attempt(run)).returncode == 0, state_of(run)
        return run

    return finished_run


def signal_at(run: Run, iteration: int, number: int) -> int:
    """Sends a signal to an attempt after its first checkpoint at or after an iteration; returns its exit code."""
    iteration = max(iteration, iteration_of(run) + 1)  # the previous attempt may have passed it
    process = subprocess.Popen(attempt(run), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: iteration_of(run) >= iteration or process.poll() is not None, f"iteration {iteration} of {run.path}")
    process.send_signal(number)
    return process.wait(60)


@pytest.mark.parametrize("name", SCENARIOS)
def test_resumed_run_equals_an_uninterrupted_run_bit_by_bit(
    tmp_path: Path, store: Path, uninterrupted: Callable[[str], Run], name: str
) -> None:
    """One attempt is killed, and one receives a shutdown signal; then the pointer is damaged. A killed attempt left a file."""
    replicas, sections = SCENARIOS[name]
    expected, resumed = uninterrupted(name), prepare(tmp_path / name, store, logical_devices=replicas, **sections)
    last = iteration_of(expected)
    iterations = sorted(random.Random(replicas).sample(range(1, last - last // 4), 2))
    outcomes = ((signal.SIGKILL, -signal.SIGKILL, "failed"), (signal.SIGUSR2, 3, "waiting"))
    for iteration, (number, code, state) in zip(iterations, outcomes, strict=True):
        assert signal_at(resumed, iteration, number) == code
        assert state_of(resumed)[0] == state
        (resumed.path / "checkpoints" / "checkpoint").write_bytes(bytes(100))  # the pointer, as a power failure leaves it
        (resumed.path / "model.keras.tmp-0123abcd.keras").write_text("incomplete")
    assert finished(attempt(resumed)).returncode == 0
    assert state_of(resumed) == ("done", "")
    assert are_equal(resumed, expected)
    assert not list(resumed.path.rglob("*.tmp-*"))
    assert len(resumed.read_provenance().attempts) == 3
    results = [json.loads((run.path / "result.json").read_text()) for run in (resumed, expected)]
    assert results[0]["samples"] == results[1]["samples"]


def test_validation_that_is_repeated_replaces_a_row_without_a_checkpoint(
    tmp_path: Path, store: Path, uninterrupted: Callable[[str], Run]
) -> None:
    expected = uninterrupted("report")
    program = [sys.executable, str(PROGRAMS / "repeated_validation.py"), str(expected.config_file), str(store), str(tmp_path)]
    repeated = finished(program)
    assert repeated.returncode == 0, repeated.stderr
    assert (tmp_path / "metrics.csv").read_text() == (expected.path / "metrics.csv").read_text()


def test_promoted_run_equals_one_with_more_epochs_bit_by_bit(
    tmp_path: Path, store: Path, uninterrupted: Callable[[str], Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = prepare(tmp_path / "sweep", store, training=SETTINGS["training"] | {"epochs": 3})
    assert finished(attempt(run)).returncode == 0
    arguments = ["promote", str(run.sweep), "--top", "3", "--cluster", "local"]
    assert command.run(sweep.main, [*arguments, "training.epochs=3"]) == 2
    assert "training.epochs is 3, and 0000-base has 3; give more epochs" in capsys.readouterr().err
    assert command.run(sweep.main, [*arguments, "training.epochs=5", "--dry-run"]) == 0
    assert "0000-base -> 0001-base-promoted" in capsys.readouterr().out
    assert not (run.sweep / "0001-base-promoted").exists()
    assert command.run(sweep.main, [*arguments, "training.epochs=5"]) == 0
    promoted = Run(run.sweep / "0001-base-promoted")
    assert state_of(promoted) == ("done", "")
    assert promoted.read_provenance().promoted_from == run.name
    assert are_equal(promoted, uninterrupted("report"))
    assert command.run(sweep.main, [*arguments, "0", "training.epochs=5"]) == 0
    assert "0 of 1 run to start" in capsys.readouterr().out


def test_validation_and_the_saved_model_use_the_averaged_weights(store: Path, uninterrupted: Callable[[str], Run]) -> None:
    run = uninterrupted("modern-replicas")
    history = read_history(run.path / "metrics.csv")
    valid_losses = [row["valid_loss"] for row in history]
    assert min(valid_losses) < valid_losses[-1]
    assert history[-1]["learning_rate"] == pytest.approx(0.02 * 0.002)

    parsed = run_config.parse(yaml_files.load_yaml(run.config_file), "test")
    with Store(store) as opened:
        network, checkpoint = load_trained_model(parsed, train_statistics(opened, parsed.data).keys, run.path)
        validation = Validation(network, find_windows(opened, Split.VALID, parsed.data), Workers())

        def mean_loss() -> float:
            return float(sum(sums[0] for sums in validation.sums())) / validation.num_predictions

        assert mean_loss() == pytest.approx(min(valid_losses), rel=1e-6)
        for name, is_validated in (("averaged", True), ("model", False)):
            state = tf.train.Checkpoint(**{name: variables_of(network.keras)})
            state.restore(str(run.path / "checkpoints" / checkpoint)).expect_partial()
            assert (mean_loss() == pytest.approx(valid_losses[-1], rel=1e-6)) == is_validated


@pytest.mark.parametrize("sections", [{"training": MODERN}, JOINT_WITHOUT_DROPOUT], ids=["modern", "joint"])
def test_two_replicas_and_two_workers_match_one_device(tmp_path: Path, store: Path, sections: dict[str, Any]) -> None:
    weights = {}
    for name, replicas, num_workers in (("one", 1, 1), ("replicas", 2, 1), ("workers", 1, 2)):
        run = tmp_path / name
        run.mkdir()
        training = {"max_iterations": 200} | sections["training"]
        values = SETTINGS | sections | {"logical_devices": replicas, "training": training}
        (tmp_path / f"{name}.yaml").write_text(yaml_files.dump_yaml(values))
        addresses = [f"127.0.0.1:{port}" for port in free_ports(num_workers)]
        processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    str(PROGRAMS / "worker.py"),
                    *map(str, (tmp_path / f"{name}.yaml", store, run, rank)),
                    *addresses,
                ],
                env=ENVIRONMENT,
            )
            for rank in range(num_workers)
        ]
        assert [process.wait(120) for process in processes] == [0] * num_workers
        weights[name] = weights_of(run / "model.keras")
    for name in ("replicas", "workers"):
        assert max(np.abs(a - b).max() for a, b in zip(weights[name], weights["one"], strict=True)) < 1e-5


def free_ports(count: int) -> list[int]:
    """Ports on which no process listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports
