"""One holder at a time, and no lock that outlives its owner."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pianogen import lock
from pianogen.lock import Lock, LockError
from tests.support.paths import ROOT
from tests.support.processes import wait_until

DOING = "corpus.h5 is being made"
HOLD = "import sys; from pathlib import Path; from pianogen.lock import Lock\n"
HOLD += "with Lock(Path(sys.argv[1]), 'corpus.h5 is being made'): print('held', flush=True); sys.stdin.read()\n"


def holder(path: Path) -> "subprocess.Popen[str]":
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def ended(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=30)


def test_second_is_refused_by_name_while_the_first_lives(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    with (
        pytest.raises(LockError, match=rf"corpus\.h5 is being made by process {process.pid} on "),
        Lock(tmp_path / "lock", DOING),
    ):
        pass
    ended(process)
    with Lock(tmp_path / "lock", DOING):
        pass
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    process.kill()
    ended(process)
    with Lock(tmp_path / "lock", DOING):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def left_by(path: Path, silent_s: float, **owner: str) -> None:
    """A lock whose owner was elsewhere and has not been heard of for some time."""
    path.write_text(json.dumps(lock._describe_self() | {"machine": "another", "host": "n7"} | owner))
    at = path.stat().st_mtime - silent_s
    os.utime(path, (at, at))


def test_lock_of_a_dead_host_is_taken_over_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    left_by(tmp_path / "lock", silent_s=lock.DEAD_AFTER_S / 2)
    with pytest.raises(LockError, match=r"on n7"), Lock(tmp_path / "lock", DOING):
        pass
    left_by(tmp_path / "lock", silent_s=lock.DEAD_AFTER_S * 2)
    with Lock(tmp_path / "lock", DOING):
        pass


def test_requeued_job_takes_over_from_its_earlier_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by(tmp_path / "lock", silent_s=0, job="42", restart="0")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with Lock(tmp_path / "lock", DOING):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_owner_touches_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_TOUCH_EVERY_S", 0.01)
    with Lock(tmp_path / "lock", DOING):
        os.utime(tmp_path / "lock", (0, 0))
        wait_until(lambda: (tmp_path / "lock").stat().st_mtime > 0, "the lock is touched")


def test_lock_that_lost_its_content_is_believed_while_it_is_touched(tmp_path: Path) -> None:
    left_by(tmp_path / "lock", silent_s=0)
    (tmp_path / "lock").write_text("")
    with pytest.raises(LockError, match="an unknown host"), Lock(tmp_path / "lock", DOING):
        pass
    left_by(tmp_path / "lock", silent_s=0)
    (tmp_path / "lock").write_text("")
    os.utime(tmp_path / "lock", (0, 0))
    with Lock(tmp_path / "lock", DOING):
        pass


def test_lock_that_was_taken_over_is_left_to_its_new_owner(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock", DOING):
        left_by(tmp_path / "lock", silent_s=0)
    assert json.loads((tmp_path / "lock").read_text())["host"] == "n7"


def test_lock_works_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with Lock(tmp_path / "lock", DOING):
        with pytest.raises(LockError, match=f"process {os.getpid()} on"), Lock(tmp_path / "lock", DOING):
            pass
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    left_by(tmp_path / "lock", silent_s=lock.DEAD_AFTER_S * 2)
    with Lock(tmp_path / "lock", DOING):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
