"""Standard streams that never end a command, even if they are closed, their pipe has no reader, or their terminal was closed."""

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NO_READER = (errno.EPIPE, errno.EIO)  # of a pipe, and of a terminal that was closed
_NAMES = ("stdin", "stdout", "stderr")


class _Output(io.RawIOBase):
    """A file descriptor to write to; output is discarded once there is no reader.

    Attributes:
        has_reader: whether all output so far was written.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.has_reader = True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        size = memoryview(data).nbytes
        if not self.has_reader:
            return size
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            if error.errno not in _NO_READER:
                raise
            self.has_reader = False
            return size


def prepare() -> None:
    """Opens the standard streams that are closed on the null device, and makes the output streams survive their readers.

    Streams that another program has replaced, such as those of pytest, are unchanged.
    """
    for descriptor, name in enumerate(_NAMES):
        _open_descriptor(descriptor)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", closefd=False))
        elif name != "stdin" and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _text_stream(descriptor, stream.encoding))


def flush() -> None:
    """Writes what standard output still holds.

    Raises:
        OSError: it cannot be written, such as to a full disk; it is then discarded, so that the exit does not fail as well.
    """
    try:
        sys.stdout.flush()
    except OSError:
        raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
        if isinstance(raw, _Output):
            raw.has_reader = False
        raise


def is_output_read() -> bool:
    """Whether standard output has a reader: false for a pipe whose reader has exited, and for a terminal that was closed."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _Output):
        return True
    poll = select.poll()
    poll.register(raw.fileno(), 0)  # errors are always reported
    return raw.has_reader and not poll.poll(0)


def _open_descriptor(descriptor: int) -> None:
    """Opens the null device if a descriptor is closed, so that no file gets its number and child processes inherit it."""
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        os.dup2(opened, descriptor)
        if opened != descriptor:
            os.close(opened)


def _text_stream(descriptor: int, encoding: str) -> io.TextIOWrapper:
    raw = _Output(descriptor)
    # A path may contain bytes that are not valid UTF-8.
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=descriptor == 2 or raw.isatty()
    )
