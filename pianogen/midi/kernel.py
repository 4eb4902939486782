"""numba's compiler, with a cache that serves read-only installations, shared file systems and nodes of different processors.

numba keeps machine code by processor and features, so a node never runs what was made for another. Where the package's
folder cannot be written, the cache lies in the user's cache folder, or in the temporary folder of the node. A file that is
there once all kernels are tells processes that start together who has to compile.
"""

import ctypes
import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding
import numba

import pianogen

_MADV_DONTNEED = 4
_WAIT_S = 120.0
_POLL_S = 0.05


def _find_folder() -> Path:
    """The first folder in which a cache can be kept."""
    here = Path(__file__).parent / "__pycache__"
    users = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    for base in (here, users):
        try:
            folder = base.expanduser() / f"pianogen-{pianogen.__version__}"
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except (OSError, RuntimeError):  # the latter where a user has no home
            continue
    folder = Path(tempfile.gettempdir()) / f"pianogen-{pianogen.__version__}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user, who could put machine code there; set NUMBA_CACHE_DIR")
    return folder


# Read by numba when a function is decorated, so before the modules with kernels are.
FOLDER = Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else _find_folder()
FOLDER.mkdir(parents=True, exist_ok=True)
numba.config.CACHE_DIR = str(FOLDER)

kernel = numba.njit(cache=True)


def release_compiler() -> None:
    """Gives back the memory in which LLVM's code lies, 75 MB that nothing runs once kernels are loaded.

    The pages are clean ones of a file, so that using them again brings them back.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, permissions, *_ = line.split()
        if "libllvmlite" in line and permissions == "r-xp":
            begin, end = (int(address, 16) for address in span.split("-"))
            if libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED) != 0:
                raise OSError(ctypes.get_errno(), "madvise")


def compile_together(call: Callable[[], object]) -> None:
    """Calls what uses every kernel; of the processes that do so at one time, one compiles and the others load.

    Where the one that compiles has died, another takes its turn: at once on the same machine, after a while elsewhere.
    """
    ready, turn = FOLDER / f"ready-{_key()}", FOLDER / f"compiling-{_key()}"
    deadline = time.monotonic() + _WAIT_S
    while not ready.exists():
        if _take_turn(turn) or _is_dead(turn) or time.monotonic() > deadline:
            call()
            ready.touch()
            turn.unlink(missing_ok=True)
            return
        time.sleep(_POLL_S)
    call()


def _take_turn(turn: Path) -> bool:
    try:
        with turn.open("x") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}")
    except FileExistsError:
        return False
    return True


def _is_dead(turn: Path) -> bool:
    """Whether the process that wrote it was one of this machine and is gone."""
    try:
        host, pid = turn.read_text().split()
    except (FileNotFoundError, ValueError):  # through since, or not written yet
        return False
    return host == socket.gethostname() and not Path(f"/proc/{pid}").exists()


def _key() -> str:
    """What a compiled kernel depends on: the processor, numba, and the package's sources."""
    digest = hashlib.sha256()
    digest.update((numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name()).encode())
    digest.update((numba.config.CPU_FEATURES or llvmlite.binding.get_host_cpu_features().flatten()).encode())
    digest.update(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        status = source.stat()
        digest.update(f"{source} {status.st_mtime_ns} {status.st_size}".encode())
    return digest.hexdigest()[:16]
