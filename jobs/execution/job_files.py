"""Where a job reads its store, and where its output goes."""

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pianogen.store import Store, StoreError

_log = logging.getLogger(__name__)


@contextmanager
def local_store(store: Store, copy: bool) -> Iterator[Store]:
    """The open store, or a copy in the temporary folder of the node, which is removed at the end.

    Raises:
        StoreError: the temporary folder is too small.
    """
    with store:
        if not copy:
            yield store
            return
        size, folder = store.path.stat().st_size, Path(tempfile.gettempdir())
        if (free := shutil.disk_usage(folder).free) < size:
            raise StoreError(
                f"{store.path} has {size:,} bytes, but {folder} has only {free:,} free; "
                "set TMPDIR to a larger local disk, or local_copy to false"
            )
        with tempfile.TemporaryDirectory(prefix="pianogen-", dir=folder) as name:
            shutil.copyfile(store.path, Path(name, store.path.name))
            with Store(Path(name, store.path.name)) as copied:
                yield copied


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # on a full disk a line of a log is lost, but not the attempt
            stream.flush()


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Appends standard output and error of this process, including those of C++ libraries, to a file.

    If the file cannot be opened, the output stays where it is.
    """
    _flush()
    saved = [os.dup(1), os.dup(2)]
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    except OSError as error:
        _log.warning("%s cannot be written (%s); the attempt continues", path, error)
    try:
        yield
    finally:
        _flush()
        for number, handle in enumerate(saved, start=1):
            os.dup2(handle, number)
            os.close(handle)
