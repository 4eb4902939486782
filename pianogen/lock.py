"""A lock that says who holds it, and that nobody holds after its owner has died.

The owner touches the file every few seconds. A second process on the same machine sees whether that one lives; on
another one it believes a lock that was touched lately; and a job that Slurm has started again knows that its earlier
attempt is over. No lock of the operating system is used: on network file systems they are often refused, and a forked
child would inherit one and keep it after its parent's death.
"""

import errno
import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pianogen import atomic
from pianogen.errors import PianogenError

_TOUCH_EVERY_S = 5.0
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
DEAD_AFTER_S = 60.0


class LockError(PianogenError):
    """Another process is at work on it."""


class Lock:
    """Held while it is entered as a context.

    Args:
        path: the lock file.
        doing: what the holder is doing, for messages: "corpus.h5 is being made".
    """

    def __init__(self, path: Path, doing: str) -> None:
        self._path, self._doing, self._text = path, doing, json.dumps(_describe_self())
        self._released = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        """Takes the lock.

        Raises:
            LockError: it is held by a process that lives.
        """
        mine = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}")
        atomic.write_text(mine, self._text)
        try:
            while not _link(mine, self._path):
                self._remove_if_dead(mine)
        finally:
            mine.unlink(missing_ok=True)
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        self._heart.join()
        if self._is_mine():
            self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._released.wait(_TOUCH_EVERY_S):
            with suppress(OSError):  # the folder may go just before the lock is released; a file system that fails may be back
                if self._is_mine():
                    os.utime(self._path)

    def _is_mine(self) -> bool:
        """Whether no other has taken it over, from a process that was stopped for so long that it seemed dead."""
        try:
            return self._path.read_text() == self._text
        except FileNotFoundError:
            return False

    def _remove_if_dead(self, mine: Path) -> None:
        try:
            text = self._path.read_text()
            os.utime(mine)  # both times are then from the clock of the file system
            silent_s = mine.stat().st_mtime - self._path.stat().st_mtime
        except FileNotFoundError:
            return  # released since
        owner = _read_owner(text)
        if not _is_dead(owner, silent_s):
            job = f", Slurm job {owner['job']}" if owner["job"] else ""
            raise LockError(
                f"{self._doing} by process {owner['pid']} on {owner['host']}{job}, started {owner['started']}, "
                f"last seen {max(silent_s, 0):.0f} s ago; wait for it, or end it and run the same command again"
            )
        # Taken aside before it is removed: if another waiting process was faster, this is its lock, and goes back.
        aside = mine.with_name(mine.name + ".old")
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return
        if aside.read_text() != text:
            _link(aside, self._path)
        aside.unlink()


def _read_owner(text: str) -> dict[str, Any]:
    """Who a lock names; one that was damaged names nobody, and is believed as long as it is touched."""
    try:
        owner: dict[str, Any] = json.loads(text)
    except ValueError:
        nobody = dict.fromkeys(("machine", "pid", "born", "job", "restart"), "")
        return {**nobody, "host": "an unknown host", "started": "some time ago"}
    return owner


def find_owner(path: Path) -> dict[str, Any] | None:
    """Who holds a lock, with host, pid and job, as far as reading tells; None if nobody who lives does."""
    try:
        owner = _read_owner(path.read_text())
        silent_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    return None if _is_dead(owner, silent_s) else owner | {"is_here": owner["machine"] == _machine()}


def _link(source: Path, target: Path) -> bool:
    """Whether the target came to be by this call; a hard link is atomic on network file systems too.

    Where there are no hard links (some disks and shared folders of laptops) it is made and then written: for a moment it names
    nobody, and is believed.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            with target.open("x") as file:
                file.write(source.read_text())
        except FileExistsError:
            return False
    return True


def _describe_self() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "born": born(os.getpid()),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "restart": os.environ.get("SLURM_RESTART_COUNT", "0"),
    }


def _is_dead(owner: dict[str, Any], silent_s: float) -> bool:
    mine = _describe_self()
    if owner["machine"] == mine["machine"]:
        return bool(born(owner["pid"]) != owner["born"])
    if owner["job"] and owner["job"] == mine["job"] and owner["restart"] != mine["restart"]:
        return True
    return silent_s > DEAD_AFTER_S


def _machine() -> str:
    """What process numbers are counted within: one boot of one kernel, one namespace."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")


def born(pid: int) -> str:
    """When a process of this machine was started, in ticks since boot, which with the pid names it; '' if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]
