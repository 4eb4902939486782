"""Whatever an input does to the process that reads it costs that input alone; real processes are killed here."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pianogen.midi.rejection import Reason
from preprocess.shard import Entry, read_entries, read_rows
from tests.programs import misbehaving
from tests.support.processes import ENVIRONMENT, descendants, finished, has_ended, wait_until

PROGRAM = [sys.executable, misbehaving.__file__]
REASONS = {
    "sleeps": Reason.TIMEOUT,
    "is_endless": Reason.TIMEOUT,
    "segfaults": Reason.CRASHED,
    "is_killed": Reason.CRASHED,
    "exits": Reason.CRASHED,
    "leaves": Reason.CRASHED,
    "raises": Reason.CRASHED,
    "dies_before_writing": Reason.CRASHED,
    "dies_half_way_through_writing": Reason.CRASHED,
    "dies_after_writing": Reason.CRASHED,
    "eats_memory": Reason.MEMORY,
}


@dataclass
class Results:
    folder: Path
    tallies: dict[str, list[int]]

    def entries(self, way: str) -> list[Entry]:
        return list(read_entries(self.folder / f"shard-{way}"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("work")
    done = finished([*PROGRAM, str(folder), "all"])
    assert done.returncode == 0, done.stderr
    return Results(folder, json.loads(done.stdout))


def test_every_way_to_misbehave_is_looked_at():
    assert set(REASONS) == set(misbehaving.WAYS)


@pytest.mark.parametrize("way", REASONS)
def test_one_outcome_is_lost_and_its_neighbours_are_kept(results, way):
    first, bad, last = results.entries(way)
    assert [first.name, bad.name, last.name] == ["first.mid", bad.name, "last.mid"]
    assert bad.name.startswith(way)
    assert (bad.status, bad.reason, bad.counts, bad.steps) == ("rejected", REASONS[way], None, 0)
    assert bad.message
    assert [(entry.status, entry.reason) for entry in (first, last)] == [("kept", "")] * 2
    assert [sum(map(len, read_rows([entry]))) for entry in (first, last)] == [first.steps, last.steps]
    assert results.tallies[way] == [3, 1]


@pytest.mark.parametrize("way", REASONS)
def test_shard_holds_whole_records_and_nothing_behind_them(results, way):
    last = results.entries(way)[-1]
    assert (results.folder / f"shard-{way}").stat().st_size == last.body_at + last.body_size


def test_message_says_how_the_process_ended(results):
    messages = {way: results.entries(way)[1].message for way in REASONS}
    assert "signal 11" in messages["segfaults"]
    assert "signal 9" in messages["is_killed"]
    assert "4096 MiB" in messages["eats_memory"]
    assert "1 s of CPU time" in messages["is_endless"] or "not done after" in messages["is_endless"]


def sleeping_program(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([*PROGRAM, str(folder), "sleeps"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def at_work(rank: "subprocess.Popen[str]", folder: Path) -> list[int]:
    """The host and the worker of a rank, once the first input is done."""
    assert rank.stdout is not None
    assert rank.stdout.readline() == "started\n"
    shard = folder / "shard-sleeps"
    wait_until(lambda: shard.exists() and len(list(read_entries(shard))) == 1, "the first input is done")
    below = descendants(rank.pid)
    assert len(below) == 2
    return below


def test_killed_rank_leaves_no_process_behind(tmp_path):
    with sleeping_program(tmp_path) as rank:
        below = at_work(rank, tmp_path)
        rank.kill()
    wait_until(lambda: all(map(has_ended, below)), "host and worker end with their rank")
    assert [entry.name for entry in read_entries(tmp_path / "shard-sleeps")] == ["first.mid"]


def test_killed_host_is_told_and_leaves_no_worker_behind(tmp_path):
    with sleeping_program(tmp_path) as rank:
        host, worker = at_work(rank, tmp_path)
        os.kill(host, signal.SIGKILL)
        assert rank.stdout is not None
        assert "signal 9" in (said := rank.stdout.read())
        assert "run the same command again" in said
    assert rank.returncode == 0
    wait_until(lambda: has_ended(worker), "the worker ends with its host")


def test_host_without_work_ends_and_writes_no_shard(tmp_path):
    done = finished([*PROGRAM, str(tmp_path), "nothing"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
