"""One holder at a time, and no lock that outlives its owner."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from pianogen import lock
from pianogen.lock import BatchJob, Lock, LockError, Owner
from tests.support.paths import ROOT
from tests.support.processes import wait_until

ACTIVITY = "corpus.h5 is being written"
HOLD = "import sys; from pathlib import Path; from pianogen.lock import Lock\n"
HOLD += "with Lock(Path(sys.argv[1]), 'corpus.h5 is being written'): print('held', flush=True); sys.stdin.read()\n"


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


def test_second_process_is_refused_while_the_owner_lives(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    with (
        pytest.raises(LockError, match=rf"corpus\.h5 is being written by process {process.pid} on "),
        Lock(tmp_path / "lock", ACTIVITY),
    ):
        pass
    ended(process)
    with Lock(tmp_path / "lock", ACTIVITY):
        pass
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    process.kill()
    ended(process)
    with Lock(tmp_path / "lock", ACTIVITY):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def leave_lock(path: Path, untouched_s: float, job: BatchJob = BatchJob()) -> None:
    """Writes the lock of a process on another machine that last touched it some time ago."""
    owner = Owner("n7", machine="another", pid=7, start_ticks="1", locked_at="2026-01-01 00:00:00", job=job)
    path.write_text(json.dumps(asdict(owner)))
    at = path.stat().st_mtime - untouched_s
    os.utime(path, (at, at))


def test_lock_of_another_host_is_taken_over_once_it_is_no_longer_touched(tmp_path: Path) -> None:
    leave_lock(tmp_path / "lock", untouched_s=lock.DEAD_AFTER_S / 2)
    with pytest.raises(LockError, match=r"on n7"), Lock(tmp_path / "lock", ACTIVITY):
        pass
    leave_lock(tmp_path / "lock", untouched_s=lock.DEAD_AFTER_S * 2)
    with Lock(tmp_path / "lock", ACTIVITY):
        pass


def test_requeued_job_takes_over_from_its_earlier_attempt(tmp_path: Path) -> None:
    leave_lock(tmp_path / "lock", untouched_s=0, job=BatchJob("42", restarts=0))
    with pytest.raises(LockError), Lock(tmp_path / "lock", ACTIVITY, BatchJob("43", restarts=1)):
        pass
    with Lock(tmp_path / "lock", ACTIVITY, BatchJob("42", restarts=1)):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_owner_touches_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_TOUCH_EVERY_S", 0.01)
    with Lock(tmp_path / "lock", ACTIVITY):
        os.utime(tmp_path / "lock", (0, 0))
        wait_until(lambda: (tmp_path / "lock").stat().st_mtime > 0, "the lock is touched")


def test_damaged_lock_is_respected_while_it_is_touched(tmp_path: Path) -> None:
    leave_lock(tmp_path / "lock", untouched_s=0)
    (tmp_path / "lock").write_text("")
    with pytest.raises(LockError, match="an unknown host"), Lock(tmp_path / "lock", ACTIVITY):
        pass
    leave_lock(tmp_path / "lock", untouched_s=0)
    (tmp_path / "lock").write_text("")
    os.utime(tmp_path / "lock", (0, 0))
    with Lock(tmp_path / "lock", ACTIVITY):
        pass


def test_lock_that_was_taken_over_is_left_to_its_new_owner(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock", ACTIVITY):
        leave_lock(tmp_path / "lock", untouched_s=0)
    assert json.loads((tmp_path / "lock").read_text())["host"] == "n7"


def test_lock_works_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with Lock(tmp_path / "lock", ACTIVITY):
        with pytest.raises(LockError, match=f"process {os.getpid()} on"), Lock(tmp_path / "lock", ACTIVITY):
            pass
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    leave_lock(tmp_path / "lock", untouched_s=lock.DEAD_AFTER_S * 2)
    with Lock(tmp_path / "lock", ACTIVITY):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
