"""Preprocessing that is killed again and again ends with the bytes of preprocessing that was not."""

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


def waits(kind: str, store: Path, draw: random.Random) -> Callable[[], bool]:
    """Whether the moment to kill has come: some time into the work, or a phase that leaves a trace in the folder."""
    at = time.monotonic() + draw.uniform(0.3, 2.5)
    traces = {
        "time": lambda: time.monotonic() > at,
        "first shard": lambda: any(store.parent.glob(f"{store.name}.tmp-work/shard-*")),
        "ledger": lambda: any(store.parent.glob("*.ledger.csv.tmp-*")) or any(store.parent.glob("*.ledger.csv")),
        "store": lambda: any(store.parent.glob(f"{store.name}.tmp-????????.h5")),
    }
    return traces[kind]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for seed in range(NUM_PIECES):
        (folder / f"{seed:02}.mid").write_bytes(made_midi(seed, steps=200))
    return folder


def test_twenty_kills_at_random_moments_change_no_byte(corpus: Path, tmp_path: Path) -> None:
    undisturbed, store = tmp_path / "undisturbed.h5", tmp_path / "killed" / "store.h5"
    assert finished(preprocess_command(0, corpus, "--store", undisturbed, "--parser", "music21")).returncode == 0
    expected = (undisturbed.read_bytes(), undisturbed.with_suffix(".ledger.csv").read_bytes())
    store.parent.mkdir()
    draw = random.Random(20)
    killed = resumed = completed = 0
    while killed < NUM_KILLS:
        ranks = draw.choice([0, 1, 2, 3])
        is_time = waits(draw.choice(["time", "time", "first shard", "ledger", "store"]), store, draw)
        process = started(preprocess_command(ranks, corpus, "--store", store, "--parser", "music21"))
        while not is_time() and process.poll() is None:
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        said, _ = process.communicate()
        resumed += "resuming:" in said
        if process.returncode == 0:
            # Through before its moment came: it must be right, and the next one begins anew.
            assert (store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()) == expected
            completed += 1
            shutil.rmtree(store.parent)
            store.parent.mkdir()
    last = finished(preprocess_command(2, corpus, "--store", store, "--parser", "music21"))
    assert last.returncode == 0, last.stderr
    assert (store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes()) == expected
    assert resumed > 0
