"""A lock has one owner at a time and does not outlive it."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pianogen import lock
from pianogen.lock import BatchJob, Lock, LockError, Owner
from tests.support.paths import ROOT
from tests.support.processes import wait_until

ACTIVITY = "corpus.h5 is being written"
PROGRAM = f"""
import sys
from pathlib import Path
from pianogen.lock import Lock
with Lock(Path(sys.argv[1]), {ACTIVITY!r}):
    print("locked", flush=True)
    sys.stdin.read()
"""


def start_owner(path: Path) -> "subprocess.Popen[str]":
    """Starts another process that holds the lock until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    """Closes the standard input of a process and waits until it has ended."""
    process.communicate(timeout=30)


def test_second_process_is_refused_while_the_owner_lives(tmp_path: Path) -> None:
    process = start_owner(tmp_path / "lock")
    with (
        pytest.raises(LockError, match=rf"corpus\.h5 is being written by process {process.pid} on "),
        Lock(tmp_path / "lock", ACTIVITY),
    ):
        pass
    end(process)
    with Lock(tmp_path / "lock", ACTIVITY):
        pass
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    process = start_owner(tmp_path / "lock")
    process.kill()
    end(process)
    with Lock(tmp_path / "lock", ACTIVITY):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def write_remote_lock(path: Path, untouched_s: float, job: BatchJob = BatchJob()) -> None:
    """Writes the lock of a process on another machine, last touched `untouched_s` ago."""
    owner = Owner("n7", machine="another", pid=7, start_ticks="1", locked_at="2026-01-01 00:00:00", job=job)
    path.write_text(json.dumps(asdict(owner)))
    touched_at = path.stat().st_mtime - untouched_s
    os.utime(path, (touched_at, touched_at))


def test_lock_of_another_host_expires_when_it_is_no_longer_touched(tmp_path: Path) -> None:
    write_remote_lock(tmp_path / "lock", untouched_s=lock.DEAD_AFTER_S / 2)
    with pytest.raises(LockError, match=r"on n7"), Lock(tmp_path / "lock", ACTIVITY):
        pass
    write_remote_lock(tmp_path / "lock", untouched_s=lock.DEAD_AFTER_S * 2)
    with Lock(tmp_path / "lock", ACTIVITY):
        pass


def test_machine_whose_proc_shows_processes_alone_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """subset=pid of proc(5), which systemd mounts for a service with ProcSubset=pid."""
    read = Path.read_text

    def hide(file: Path, *arguments: Any, **options: Any) -> str:
        if file.is_relative_to("/proc/sys"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(file))
        return read(file, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", hide)
    with Lock(tmp_path / "lock", ACTIVITY):
        owner = lock.find_owner(tmp_path / "lock")
        assert owner is not None
        assert owner.is_on_this_machine


@pytest.mark.parametrize("error", [PermissionError, FileNotFoundError])  # hidepid=1 and hidepid=2 of proc(5)
def test_lock_of_a_process_that_proc_hides_expires_like_that_of_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    path = tmp_path / "lock"
    process = start_owner(path)
    text = path.read_text()
    end(process)
    read = Path.read_text

    def hide(file: Path, *arguments: Any, **options: Any) -> str:
        if file == Path(f"/proc/{process.pid}/stat"):
            raise error
        return read(file, *arguments, **options)

    def refuse(*_: int) -> None:
        raise PermissionError(errno.EPERM, "the process of another user")

    monkeypatch.setattr(Path, "read_text", hide)
    monkeypatch.setattr(os, "kill", refuse)
    path.write_text(text)
    assert lock.find_owner(path) is not None
    with pytest.raises(LockError, match=f"process {process.pid} on"), Lock(path, ACTIVITY):
        pass
    os.utime(path, (0, 0))
    assert lock.find_owner(path) is None
    with Lock(path, ACTIVITY):
        pass


def test_time_of_a_lock_is_measured_by_the_clock_of_its_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * lock.DEAD_AFTER_S)
    write_remote_lock(tmp_path / "lock", untouched_s=0)
    assert lock.find_owner(tmp_path / "lock") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "a read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert lock.find_owner(tmp_path / "lock") is None, "only the clock of this machine is left"


def test_copy_of_a_lock_has_no_owner(tmp_path: Path) -> None:
    original, copied, link = tmp_path / "original", tmp_path / "copy", tmp_path / "link"
    original.mkdir()
    link.symlink_to(original)
    with Lock(original / "lock", ACTIVITY):
        shutil.copytree(original, copied)
        assert lock.find_owner(copied / "lock") is None
        with Lock(copied / "lock", ACTIVITY):
            assert lock.find_owner(copied / "lock") is not None
        assert lock.find_owner(link / "lock") is not None
        original.rename(tmp_path / "renamed")
        assert lock.find_owner(tmp_path / "renamed" / "lock") is not None


def test_requeued_job_takes_over_the_lock_of_its_previous_attempt(tmp_path: Path) -> None:
    write_remote_lock(tmp_path / "lock", untouched_s=0, job=BatchJob("42", restarts=0))
    with pytest.raises(LockError), Lock(tmp_path / "lock", ACTIVITY, BatchJob("43", restarts=1)):
        pass
    with Lock(tmp_path / "lock", ACTIVITY, BatchJob("42", restarts=1)):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_owner_touches_the_lock_regularly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TOUCH_EVERY_S", 0.01)
    with Lock(tmp_path / "lock", ACTIVITY):
        os.utime(tmp_path / "lock", (0, 0))
        wait_until(lambda: (tmp_path / "lock").stat().st_mtime > 0, "the lock is touched")


def test_damaged_lock_is_respected_until_it_expires(tmp_path: Path) -> None:
    write_remote_lock(tmp_path / "lock", untouched_s=0)
    (tmp_path / "lock").write_text("")
    with pytest.raises(LockError, match="an unknown host"), Lock(tmp_path / "lock", ACTIVITY):
        pass
    write_remote_lock(tmp_path / "lock", untouched_s=0)
    (tmp_path / "lock").write_text("")
    os.utime(tmp_path / "lock", (0, 0))
    with Lock(tmp_path / "lock", ACTIVITY):
        pass


def test_release_keeps_a_lock_that_another_process_has_taken_over(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock", ACTIVITY):
        write_remote_lock(tmp_path / "lock", untouched_s=0)
    assert json.loads((tmp_path / "lock").read_text())["host"] == "n7"


def test_lock_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "hard links are not supported")

    monkeypatch.setattr(os, "link", refuse)
    with Lock(tmp_path / "lock", ACTIVITY):
        with pytest.raises(LockError, match=f"process {os.getpid()} on"), Lock(tmp_path / "lock", ACTIVITY):
            pass
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    write_remote_lock(tmp_path / "lock", untouched_s=lock.DEAD_AFTER_S * 2)
    with Lock(tmp_path / "lock", ACTIVITY):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
