"""numba's compiler with a cache on disk that works for read-only installations, shared file systems and mixed processors.

numba stores machine code by processor model and features, so a node never runs code that was compiled for another processor. The
cache lies in the user's cache folder and is identified by the content of the sources: the checkout and the snapshots of the code
that jobs run share it. Where that folder is read-only, the cache lies beside this module, or else in the temporary folder of the
node. Where it cannot be written or read, such as on a full disk, each process compiles for itself.
"""

import ctypes
import functools
import hashlib
import logging
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding
import numba
from numba.core.caching import FunctionCache, UserProvidedCacheLocator

from pianogen.polling import wait_until

_MADV_DONTNEED = 4
WAIT_S = 120.0
_POLL_S = 0.05
_PACKAGE = Path(__file__).parent
_KERNEL_FOLDERS = ("data", "evaluation", "midi")
_KERNEL_MODULES = ("roll.py", "window.py")  # with constants of kernels, outside of these folders
_SOURCES = sorted(
    [
        *(_PACKAGE / name for name in _KERNEL_MODULES),
        *(source for folder in _KERNEL_FOLDERS for source in (_PACKAGE / folder).glob("*.py")),
    ]
)

# What pickle raises for files that a power failure has damaged, beside the errors of the disk.
_UNUSABLE = (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, ImportError)
_log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])


def _sources_key() -> str:
    """Identifies the content of the sources of the kernels, and the version of the compiler.

    numba itself checks only the file that defines a kernel. A kernel also contains the constants and record types of the modules
    that its file imports: all of them lie in the folders with kernels, in `pianogen.roll` and in `pianogen.window`.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in _SOURCES:
        digest.update(f"{source.relative_to(_PACKAGE)} {source.stat().st_size}\n".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _find_folder() -> Path:
    """The first folder in which a cache can be kept."""
    name = f"pianogen-{_sources_key()}"
    chosen = [Path(numba.config.CACHE_DIR).absolute()] if numba.config.CACHE_DIR else []
    for parent in (*chosen, Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache"), _PACKAGE / "__pycache__"):
        try:
            folder = parent.expanduser() / name
            if not folder.is_absolute():  # the specification of XDG_CACHE_HOME has relative paths ignored
                continue
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
            continue
    folder = Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(
            f"{folder} belongs to another user, who could place machine code in it; set NUMBA_CACHE_DIR to a folder of your own"
        )
    return folder


class KernelLocator(UserProvidedCacheLocator):  # type: ignore[misc]  # numba has no types
    """Where numba finds the compiled kernels of this package; by default, it would not find those of a copy of the sources."""

    @classmethod
    def from_function(cls, function: Callable[..., Any], source: str) -> "KernelLocator | None":
        return super().from_function(function, source) if _PACKAGE in Path(source).parents else None

    @classmethod
    def get_suitable_cache_subpath(cls, source: str) -> str:
        return Path(source).parent.name


class _OptionalCache(FunctionCache):  # type: ignore[misc]
    """The cache of a kernel. By default, numba would end the work when a file of the cache cannot be written or read."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature; None if it is not in the cache, or damaged."""
        try:
            return super().load_overload(sig, target_context)
        except _UNUSABLE as error:
            _warn(f"read ({error})")
            with suppress(OSError):
                self.flush()  # replaces the list of the files
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Adds the machine code for a signature, if the disk allows it."""
        try:
            super().save_overload(sig, data)
        except _UNUSABLE as error:
            _warn(f"written ({error})")


@functools.cache
def _warn(failure: str) -> None:
    _log.warning("the cache of compiled kernels, %s, cannot be %s; this process compiles them again", FOLDER, failure)


# numba reads these settings when a function is decorated, so they must be made before modules with kernels are imported.
FOLDER = _find_folder()
numba.config.CACHE_DIR = str(FOLDER)
numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.KernelLocator,{UserProvidedCacheLocator.__name__}"


def kernel(function: Function) -> Function:
    """Compiles a function with numba on its first call, or loads it from the cache."""
    compiled: Any = numba.njit(nogil=True)(function)
    compiled._cache = _OptionalCache(function)  # as `cache=True` does, but for the class
    kept: Function = compiled
    return kept


def compile_once(use_kernels: Callable[[], object], wait_s: float = WAIT_S) -> None:
    """Calls a function that uses every kernel; of all processes that start together, one compiles and the others load the result.

    If the compiling process dies, another one takes over: immediately on the same machine, after a timeout on other machines.

    Args:
        use_kernels: calls every kernel with the types of its arguments.
        wait_s: the timeout.
    """
    processor = hashlib.sha256(_processor().encode()).hexdigest()[:16]
    ready, compiling = FOLDER / f"ready-{processor}", FOLDER / f"compiling-{processor}"
    wait_until(lambda: ready.exists() or _create(compiling) or _has_dead_owner(compiling), wait_s, _POLL_S)
    is_ready = ready.exists()
    use_kernels()
    if not is_ready:
        with suppress(OSError):
            ready.touch()
        compiling.unlink(missing_ok=True)


def release_compiler() -> None:
    """Returns the memory that holds LLVM's machine code, which is not needed once the kernels are compiled or loaded.

    It saves 31 of 190 MB in a single rank and 24 of 187 MB in each of two ranks on one machine (proportional set size of host and
    worker), and takes no measurable time. The pages are unmodified pages of a file: the kernel reads them again if they are used.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, permissions, *_ = line.split()
        if "libllvmlite" in line and permissions == "r-xp":
            begin, end = (int(address, 16) for address in span.split("-"))
            if libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED) != 0:
                raise OSError(ctypes.get_errno(), "madvise")


def _processor() -> str:
    """The processor model and features that numba compiles for."""
    name = numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    features = numba.config.CPU_FEATURES or llvmlite.binding.get_host_cpu_features().flatten()
    return f"{name} {features}"


def _create(compiling: Path) -> bool:
    """Whether this process is the one that compiles: it created the file with its name, or the disk is full."""
    try:
        with compiling.open("x") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}")
    except FileExistsError:
        return False
    except OSError:
        with suppress(OSError):
            compiling.unlink()
    return True


def _has_dead_owner(compiling: Path) -> bool:
    """Whether the process that compiles was on this machine and has ended."""
    try:
        host, pid = compiling.read_text().split()
    except (FileNotFoundError, ValueError):  # the other process has just finished, or has not written its name yet
        return False
    return host == socket.gethostname() and not Path(f"/proc/{pid}").exists()
