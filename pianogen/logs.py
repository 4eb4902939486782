"""Log lines of the commands and jobs: time, level and message on standard error."""

import logging
import os
import sys
from typing import TextIO

VERBOSE = "PIANOGEN_VERBOSE"
_PACKAGES = ("pianogen", "preprocess", "jobs", "benchmarks")
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is now: a progress bar or a job's log may have replaced it since the start."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute there, set once
        return sys.stderr


def configure(verbose: bool = False) -> None:
    """Sets up logging; must be called before TensorFlow is imported.

    Args:
        verbose: also log debug messages and the start-up messages of TensorFlow; the environment variable PIANOGEN_VERBOSE=1
            does the same, and passes the choice on to the processes that this one starts.
    """
    if verbose:
        os.environ[VERBOSE] = "1"
    is_verbose = os.environ.get(VERBOSE, "") not in ("", "0")
    if not is_verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # oneDNN, XLA and device messages of TensorFlow's C++ code
        logging.getLogger("absl").setLevel(logging.ERROR)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    handler = _StandardError()
    handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%Y-%m-%d %H:%M:%S"))
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(logging.DEBUG if is_verbose else logging.INFO)
        logger.handlers[:] = [handler]
        logger.propagate = False
