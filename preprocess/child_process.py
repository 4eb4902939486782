"""Forked child processes that end with their parent."""

import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from preprocess.inputs import Input

_PR_SET_PDEATHSIG = 1  # prctl(2)


class ChildProcess:
    """A forked process and a pipe to it. The kernel kills the process when its parent dies.

    Args:
        body: runs in the child, with the child's end of the pipe; the child exits when `body` returns.

    Attributes:
        pid: the process id of the child.
        connection: the parent's end of the pipe.
    """

    def __init__(self, body: Callable[[Connection], None]) -> None:
        self.connection, child_connection = Pipe()
        parent_pid = os.getpid()
        gc.freeze()  # a garbage collection would write to, and so copy, the pages that parent and child share
        self.pid = os.fork()
        if self.pid == 0:
            self.connection.close()
            _run(parent_pid, lambda: body(child_connection))
        child_connection.close()

    def wait(self) -> int:
        """Waits until the child has ended and returns its wait status (waitpid(2))."""
        return os.waitpid(self.pid, 0)[1]


def _run(parent_pid: int, body: Callable[[], None]) -> None:
    """Runs the body of a child; never returns, so that the child does not continue in the code of its parent."""
    code = 1
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent_pid:  # otherwise the parent died before prctl took effect
            body()
            code = 0
    except BaseException:  # noqa: BLE001 - every error is printed, and the child must not return
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def receive_inputs(connection: Connection) -> Sequence[Input] | None:
    """The next inputs from the parent, None if there are no more or the parent has closed its end of the pipe."""
    try:
        inputs: Sequence[Input] | None = connection.recv()
    except (EOFError, ConnectionResetError):
        return None
    return inputs


def describe_exit(status: int) -> str:
    """A wait status in words."""
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}, {signal.strsignal(os.WTERMSIG(status))}"
    return f"exit code {os.WEXITSTATUS(status)}"
