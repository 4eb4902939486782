"""An input that crashes, hangs or exhausts memory costs one record; real processes are killed here."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Reason
from preprocess.shard import read_records
from tests.programs import misbehaving
from tests.support.made_corpus import made_midi
from tests.support.processes import ENVIRONMENT, descendants, finished, has_ended, wait_until
from tests.support.shard_files import Record, read_shard

PROGRAM = [sys.executable, misbehaving.__file__]
REASONS = {
    "sleeps": Reason.TIMEOUT,
    "is_endless": Reason.TIMEOUT,
    "segfaults": Reason.CRASHED,
    "is_killed": Reason.CRASHED,
    "calls_os_exit": Reason.CRASHED,
    "calls_sys_exit": Reason.CRASHED,
    "raises": Reason.CRASHED,
    "dies_before_writing": Reason.CRASHED,
    "dies_half_way_through_writing": Reason.CRASHED,
    "dies_after_writing": Reason.CRASHED,
    "eats_memory": Reason.MEMORY,
}
MESSAGES = {
    "sleeps": "not finished after 2 s of wall-clock time",
    "is_endless": "not finished after 1 s of CPU time",
    "segfaults": "the worker process that converted it ended (signal 11, Segmentation fault)",
    "is_killed": "the worker process that converted it ended (signal 9, Killed)",
    "calls_os_exit": "the worker process that converted it ended (exit code 0)",
    "raises": "the worker process that converted it ended (exit code 1)",
    "eats_memory": "needs more than 4096 MiB of memory",
}


@dataclass
class Results:
    """The shards, and the numbers of inputs and of rejected inputs by misbehavior."""

    folder: Path
    counts: dict[str, list[int]]

    def records(self, misbehavior: str) -> list[Record]:
        return read_shard(self.folder / f"shard-{misbehavior}")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("work")
    done = finished([*PROGRAM, str(folder), "all"])
    assert done.returncode == 0, done.stderr
    return Results(folder, json.loads(done.stdout))


def test_every_misbehavior_has_an_expected_reason() -> None:
    assert set(REASONS) == set(misbehaving.MISBEHAVIORS)


def test_seeking_in_an_archive_is_not_charged_to_the_input(results: Results) -> None:
    assert results.counts[misbehaving.LONG_SEEK] == [3, 0]
    assert [record.reason for record in results.records(misbehaving.LONG_SEEK)] == [None] * 3


@pytest.mark.parametrize("misbehavior", REASONS)
def test_misbehaving_input_is_rejected_and_its_neighbors_are_kept(results: Results, misbehavior: str) -> None:
    first, bad, last = results.records(misbehavior)
    assert [record.number for record in (first, bad, last)] == [0, 1, 2]
    assert (bad.reason, bad.roll) == (REASONS[misbehavior], None)
    assert bad.message
    for seed, record in ((0, first), (2, last)):
        assert record.reason is None
        assert record.roll == read_roll(made_midi(seed), "a.mid")[0]
    assert results.counts[misbehavior] == [3, 1]


@pytest.mark.parametrize("misbehavior", REASONS)
def test_shard_ends_with_a_complete_record(results: Results, misbehavior: str) -> None:
    shard = results.folder / f"shard-{misbehavior}"
    assert shard.stat().st_size == [end for _, end in read_records(shard)][-1]


@pytest.mark.parametrize("misbehavior", MESSAGES)
def test_message_states_how_the_worker_process_ended(results: Results, misbehavior: str) -> None:
    assert results.records(misbehavior)[1].message == MESSAGES[misbehavior]


def sleeping_program(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([*PROGRAM, str(folder), "sleeps"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def host_and_worker(rank: "subprocess.Popen[str]", folder: Path) -> tuple[int, int]:
    """The host process and the worker process of a rank, once the first input is finished."""
    assert rank.stdout is not None
    assert rank.stdout.readline() == "started\n"
    shard = folder / "shard-sleeps"
    wait_until(lambda: shard.exists() and len(read_shard(shard)) == 1, "the first input is finished")
    host, worker = descendants(rank.pid)
    return host, worker


def test_killed_rank_leaves_no_process_behind(tmp_path: Path) -> None:
    with sleeping_program(tmp_path) as rank:
        children = host_and_worker(rank, tmp_path)
        rank.kill()
    wait_until(lambda: all(map(has_ended, children)), "host process and worker process end with their rank")
    assert [record.number for record in read_shard(tmp_path / "shard-sleeps")] == [0]


def test_killed_host_process_is_reported_and_leaves_no_worker_process_behind(tmp_path: Path) -> None:
    with sleeping_program(tmp_path) as rank:
        host, worker = host_and_worker(rank, tmp_path)
        os.kill(host, signal.SIGKILL)
        assert rank.stdout is not None
        message = rank.stdout.read()
    assert "the host process that converts inputs ended unexpectedly (signal 9, Killed)" in message
    assert "run the same command again" in message
    assert rank.returncode == 0
    wait_until(lambda: has_ended(worker), "the worker process ends with its host process")


def test_host_process_without_work_ends_and_writes_no_shard(tmp_path: Path) -> None:
    done = finished([*PROGRAM, str(tmp_path), "nothing"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
