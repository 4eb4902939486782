"""Commands in a pseudo-terminal, as a user starts them."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.processes import ENVIRONMENT

ESCAPE = "\x1b"
_ROWS, _COLUMNS = 40, 120


@dataclass(frozen=True, slots=True)
class Session:
    """A command that has ended.

    Attributes:
        returncode: its exit code.
        output: what it wrote to the terminal.
    """

    returncode: int
    output: str

    @property
    def text(self) -> str:
        """The output without its control sequences: everything that was visible at some time."""
        return re.sub(rf"{ESCAPE}\[[0-9;?]*[A-Za-z]", "", self.output)


def run_in_terminal(command: Sequence[str], terminal: str = "xterm") -> Session:
    """Executes a command in a terminal of 120 columns.

    Args:
        terminal: the value of TERM.
    """
    controller, device = pty.openpty()
    fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    environment = ENVIRONMENT | {"TERM": terminal}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    with (
        subprocess.Popen(command, stdin=device, stdout=device, stderr=device, env=environment, start_new_session=True) as process,
        os.fdopen(controller, "rb", buffering=0) as output,
    ):
        os.close(device)
        parts = []
        try:
            while part := output.read(1 << 16):
                parts.append(part)
        except OSError:  # how Linux reports that no process has the terminal open any more
            pass
    text = b"".join(parts).decode(errors="backslashreplace").replace("\r\n", "\n")
    return Session(process.returncode, text)
