"""Preprocessing that is killed many times and resumed writes the same bytes as uninterrupted preprocessing."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.made_corpus import made_midi
from tests.support.processes import finished, preprocess_command, started

NUM_KILLS = 20
NUM_PIECES = 60


def kill_condition(moment: str, store: Path, generator: random.Random) -> Callable[[], bool]:
    """A condition that becomes true after a random time, or when a file of a later phase exists."""
    deadline = time.monotonic() + generator.uniform(0.3, 2.5)
    conditions = {
        "time": lambda: time.monotonic() > deadline,
        "first shard": lambda: any(store.parent.glob(f"{store.name}.tmp-work/shard-*")),
        "ledger": lambda: any(store.parent.glob("*.ledger.csv.tmp-*")) or any(store.parent.glob("*.ledger.csv")),
        "store": lambda: any(store.parent.glob(f"{store.name}.tmp-????????.h5")),
    }
    return conditions[moment]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for seed in range(NUM_PIECES):
        (folder / f"{seed:02}.mid").write_bytes(made_midi(seed, steps=200))
    for seed in range(0, NUM_PIECES, 6):
        (folder / f"{seed:02} slower.mid").write_bytes(made_midi(seed, steps=200, tempo_us=900_000))
    return folder


def test_twenty_kills_at_random_moments_do_not_change_the_bytes(corpus: Path, tmp_path: Path) -> None:
    undisturbed, store = tmp_path / "undisturbed.h5", tmp_path / "killed" / "store.h5"
    options = ["--parser", "music21", "--near-duplicates", "drop"]
    assert finished(preprocess_command(0, corpus, "--store", undisturbed, *options)).returncode == 0
    expected = (undisturbed.read_bytes(), undisturbed.with_suffix(".ledger.csv").read_bytes())
    store.parent.mkdir()
    generator = random.Random(20)
    num_killed = num_resumed = 0
    while num_killed < NUM_KILLS:
        ranks = generator.choice([0, 1, 2, 3])
        moment = generator.choice(["time", "time", "first shard", "ledger", "store"])
        should_kill = kill_condition(moment, store, generator)
        process = started(preprocess_command(ranks, corpus, "--store", store, *options))
        while not should_kill() and process.poll() is None:
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            num_killed += 1
        output, _ = process.communicate()
        num_resumed += "resuming:" in output
        if process.returncode == 0:
            # The command finished before the condition became true; the next one starts without a store.
            assert (store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()) == expected
            shutil.rmtree(store.parent)
            store.parent.mkdir()
    last = finished(preprocess_command(2, corpus, "--store", store, *options))
    assert last.returncode == 0, last.stderr
    assert (store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()) == expected
    assert {path.name for path in store.parent.iterdir()} == {"store.h5", "store.ledger.csv"}
    assert num_resumed > 0
