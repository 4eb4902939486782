"""Training in real processes: killed, told to leave, on several replicas and workers, and always the same weights."""

import json
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.records.run_directory import Run
from pianogen import config
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.paths import PROGRAMS
from tests.support.processes import ENVIRONMENT, finished, wait_until
from tests.support.runs import SETTINGS, are_equal, attempt, iteration_of, prepare, state_of, weights_of

SPLITS = [Split.TRAIN] * 6 + [Split.VALID]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_store(tmp_path_factory.mktemp("store") / "corpus.h5", SPLITS, steps=220)


def ended_at(run: Run, iteration: int, number: int) -> int:
    """Sends a signal to an attempt that has come to an iteration; its exit code."""
    process = subprocess.Popen(attempt(run), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: iteration_of(run) >= iteration or process.poll() is not None, f"iteration {iteration} of {run.path}")
    process.send_signal(number)
    return process.wait(60)


@pytest.mark.parametrize("replicas", [1, 2])
def test_five_kills_and_five_signals_change_no_bit(tmp_path: Path, store: Path, replicas: int) -> None:
    runs = {name: prepare(tmp_path / name, store, logical_devices=replicas) for name in ("undisturbed", "killed", "told")}
    assert finished(attempt(runs["undisturbed"])).returncode == 0
    last = iteration_of(runs["undisturbed"])
    chosen = random.Random(replicas)
    for name, number, code in (("killed", signal.SIGKILL, -signal.SIGKILL), ("told", signal.SIGUSR2, 3)):
        run = runs[name]
        for at in sorted(chosen.sample(range(1, last - last // 4), 5)):
            assert ended_at(run, at, number) == code
            assert state_of(run)[0] == {"killed": "failed", "told": "waiting"}[name]
        assert finished(attempt(run)).returncode == 0
        assert state_of(run) == ("done", "")
        assert are_equal(run, runs["undisturbed"])
        assert len(run.read_provenance().attempts) == 6
        results = [json.loads((each.path / "result.json").read_text()) for each in (run, runs["undisturbed"])]
        assert results[0]["samples"] == results[1]["samples"]


def test_two_replicas_and_two_workers_match_one_device(tmp_path: Path, store: Path) -> None:
    found = {}
    for name, replicas, num_workers in (("one", 1, 1), ("replicas", 2, 1), ("workers", 1, 2)):
        run = tmp_path / name
        run.mkdir()
        values = SETTINGS | {"logical_devices": replicas, "training": {"batch": 8, "max_iterations": 200}}
        (tmp_path / f"{name}.yaml").write_text(config.dump_yaml(values))
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
        found[name] = weights_of(run / "model.keras")
    for name in ("replicas", "workers"):
        assert max(np.abs(a - b).max() for a, b in zip(found[name], found["one"], strict=True)) < 1e-5


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, for workers that start at once."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
