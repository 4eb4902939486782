"""A lock file that records its owner and expires when the owner dies.

The owner touches the file every few seconds. A process on the same machine checks whether the owner is alive. A process that
cannot, on another machine or of another user, respects a lock that was touched recently. A requeued job takes over the lock of
its previous attempt.

The lock is not a lock of the operating system: many network file systems do not support those, and a forked child inherits them
and keeps them after the death of its parent.
"""

import errno
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pianogen import atomic
from pianogen.errors import PianogenError

TOUCH_EVERY_S = 5.0
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
DEAD_AFTER_S = 60.0


class LockError(PianogenError):
    """Another process holds the lock."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """The scheduler's job that a process belongs to.

    Attributes:
        id: the job id, '' outside of a job.
        restarts: how many times the scheduler has requeued the job.
    """

    id: str = ""
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock.

    Attributes:
        host: its host name.
        machine: identifies the boot and the PID namespace in which `pid` is unique.
        pid: its process ID.
        start_ticks: the start time of the process in clock ticks since boot. A PID may be reused; the pair is unique.
        locked_at: the local time at which it acquired the lock.
        job: the scheduler's job that it belongs to.
        path: the lock file, without symbolic links.
    """

    host: str
    machine: str
    pid: int
    start_ticks: str
    locked_at: str
    job: BatchJob = BatchJob()
    path: str = ""

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the owner runs on this machine, so that this process can signal it."""
        return self.machine == _machine()


class Lock:
    """A lock that is held while its context is entered.

    Args:
        path: the lock file.
        activity: the first words of the error message, such as "corpus.h5 is being written".
        job: the scheduler's job that this process belongs to.
    """

    def __init__(self, path: Path, activity: str, job: BatchJob = BatchJob()) -> None:
        self._path, self._activity, self._job = path, activity, job
        self._text = json.dumps(asdict(_this_process(path, job)))
        self._released = threading.Event()
        self._toucher = threading.Thread(target=self._touch_regularly, daemon=True)

    def __enter__(self) -> Self:
        """Acquires the lock.

        Raises:
            LockError: a live process holds the lock.
        """
        candidate = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}")
        atomic.write_text(candidate, self._text)
        try:
            while not _link(candidate, self._path):
                self._remove_if_dead(candidate.with_name(f"{candidate.name}.old"))
        finally:
            candidate.unlink(missing_ok=True)
        self._toucher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        self._toucher.join()
        with suppress(OSError):  # the lock then expires
            if self._is_own():
                self._path.unlink(missing_ok=True)

    def _touch_regularly(self) -> None:
        while not self._released.wait(TOUCH_EVERY_S):
            # The folder may be removed just before the lock is released, and a file system error may be temporary.
            with suppress(OSError):
                if self._is_own():
                    os.utime(self._path)

    def _is_own(self) -> bool:
        """Whether this process still owns the file: while it was suspended, the lock may have expired and been taken over."""
        try:
            return self._path.read_text(errors="replace") == self._text
        except FileNotFoundError:
            return False

    def _remove_if_dead(self, aside: Path) -> None:
        try:
            text = self._path.read_text(errors="replace")
            owner = _parse_owner(text)
            if not _is_dead(owner, self._path, self._job):
                last_seen = f"last seen {max(_untouched_s(self._path), 0):.0f} s ago"
                raise LockError(f"{self._activity} by {_describe(owner)}, {last_seen}; wait until it ends, or stop it and retry")
            # Another waiting process may have replaced the dead lock meanwhile. The file is therefore renamed and compared, and
            # put back if it is that process's lock.
            self._path.rename(aside)
        except FileNotFoundError:
            return  # the owner has just released it
        if aside.read_text(errors="replace") != text:
            _link(aside, self._path)
        aside.unlink()


def find_owner(path: Path, job: BatchJob = BatchJob()) -> Owner | None:
    """The owner of a lock; None if no live process holds it here. A damaged lock has an owner on an unknown host.

    Args:
        job: the scheduler's job that this process belongs to.
    """
    try:
        owner = _parse_owner(path.read_text(errors="replace"))
        return None if _is_dead(owner, path, job) else owner
    except FileNotFoundError:
        return None


def start_ticks(pid: int) -> str:
    """The start time of a process of this machine in clock ticks since boot (proc_pid_stat(5), field 22), '' if it has ended.

    Raises:
        PermissionError: the process exists, and /proc hides those of other users (proc(5), hidepid).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _parse_owner(text: str) -> Owner:
    """Parses a lock file. A damaged lock has an unknown owner and is respected as long as the file is touched."""
    try:
        values = json.loads(text)
        return Owner(**values | {"job": BatchJob(**values["job"])})
    except (ValueError, TypeError, KeyError):
        return Owner("an unknown host", machine="", pid=0, start_ticks="", locked_at="an unknown time")


def _describe(owner: Owner) -> str:
    job = f" (job {owner.job.id})" if owner.job.id else ""
    return f"process {owner.pid} on {owner.host}{job} since {owner.locked_at}"


def _is_dead(owner: Owner, path: Path, own_job: BatchJob) -> bool:
    if _is_copy(owner, path):
        return True
    if owner.is_on_this_machine:
        with suppress(PermissionError):  # the time decides then
            return start_ticks(owner.pid) != owner.start_ticks
    if owner.job.id and owner.job.id == own_job.id and owner.job.restarts != own_job.restarts:
        return True
    return _untouched_s(path) > DEAD_AFTER_S


def _is_copy(owner: Owner, path: Path) -> bool:
    """Whether a lock is a copy of the one that its owner holds, such as that in a copied sweep.

    Only the inodes are compared: where a file system is mounted twice, the devices differ.
    """
    return os.path.exists(owner.path) and os.stat(owner.path).st_ino != path.stat().st_ino


def _untouched_s(path: Path) -> float:
    """The time since a lock was touched, by the clock of its file system; if that is read-only, by the clock of this machine."""
    try:
        with tempfile.TemporaryFile(prefix=f"{path.name}.", dir=path.parent) as probe:
            os.utime(probe.fileno())
            now = os.fstat(probe.fileno()).st_mtime
    except OSError:
        now = time.time()
    return now - path.stat().st_mtime


def _link(source: Path, target: Path) -> bool:
    """Creates the target with the content of the source; False if the target exists.

    A hard link is atomic, also on network file systems. Where hard links are not supported (FAT disks, shared folders of virtual
    machines), the target is created and then written: until it is written, other processes read a damaged lock and respect it.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        try:
            with target.open("x") as file:
                file.write(source.read_text())
        except FileExistsError:
            return False
    return True


def _this_process(path: Path, job: BatchJob) -> Owner:
    pid = os.getpid()
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return Owner(socket.gethostname(), _machine(), pid, start_ticks(pid), now, job, str(path.resolve()))


def _machine() -> str:
    """Identifies the boot of this machine, or its name if /proc hides the boot (proc(5), subset=pid), and the PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = socket.gethostname()
    return boot + os.readlink("/proc/self/ns/pid")
