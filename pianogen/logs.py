"""Log lines of the commands and jobs: time, level and message on standard error."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TextIO

from pianogen import arithmetic
from pianogen.errors import UsageError, cause

VERBOSE = "PIANOGEN_VERBOSE"
_PACKAGES = ("pianogen", "preprocess", "jobs", "benchmarks")
_INSTALL_TENSORFLOW = "install the extra cpu with pip install '.[cpu]', or gpu with pip install '.[gpu]'"
_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_TENSORFLOW_INFO = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I\d{4} |To enable the following instructions"
)


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`, which a progress bar or a job's log may have replaced since the start."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # the base class sets an attribute once
        return sys.stderr


def configure(verbose: bool = False) -> None:
    """Sets up logging; must be called before TensorFlow is imported.

    Args:
        verbose: also log debug messages and the start-up messages of TensorFlow. The environment variable PIANOGEN_VERBOSE=1
            has the same effect; this option sets it for the child processes.
    """
    if verbose:
        os.environ[VERBOSE] = "1"
    if not _is_verbose():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # hides XLA and device messages of TensorFlow's C++ code
        logging.getLogger("absl").setLevel(logging.ERROR)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    handler = _StandardError()
    handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%Y-%m-%d %H:%M:%S"))
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(logging.DEBUG if _is_verbose() else logging.INFO)
        logger.handlers[:] = [handler]
        logger.propagate = False


def import_tensorflow() -> None:
    """Imports TensorFlow with fixed arithmetic, and without its informational messages unless verbose output was requested.

    Its shared libraries write these messages while they are loaded, before TF_CPP_MIN_LOG_LEVEL takes effect.

    Raises:
        UsageError: TensorFlow is not installed or cannot be loaded, or a variable of the environment would change results.
    """
    check_tensorflow()
    arithmetic.fix()
    try:
        with nullcontext() if _is_verbose() else _without_tensorflow_info():
            import tensorflow  # noqa: F401
    except ImportError as error:
        raise UsageError(f"TensorFlow cannot be loaded: {cause(error)}; {_INSTALL_TENSORFLOW}") from error


def check_tensorflow() -> None:
    """Checks that TensorFlow is installed, and does not import it.

    Raises:
        UsageError: it is not.
    """
    try:
        missing = [name for name in ("tensorflow", "keras") if find_spec(name) is None]
    except ImportError as error:  # of an import hook
        missing = [error.name or "tensorflow"]
    if missing:
        raise UsageError(f"training and sampling need {missing[0]}, which is not installed; {_INSTALL_TENSORFLOW}")


def _is_verbose() -> bool:
    return os.environ.get(VERBOSE, "") not in ("", "0")


@contextmanager
def _without_tensorflow_info() -> Iterator[None]:
    """Holds back what native code writes to standard error, and writes it at the end without informational messages.

    If the process crashes meanwhile, the output is lost; verbose output shows it.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            output.seek(0)
            os.write(2, b"".join(line for line in output if not _TENSORFLOW_INFO.match(line)))
