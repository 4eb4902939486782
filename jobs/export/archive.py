"""The ZIP files that `decode --archive` writes."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

from pianogen.errors import PianogenError, cause
from pianogen.zip_names import ZIP_ERRORS


@contextmanager
def opened_archive(path: Path) -> Iterator[ZipFile]:
    """Opens an archive, which the context only reads.

    Raises:
        PianogenError: the archive is damaged.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            with ZipFile(file) as archive:
                yield archive
        except ZIP_ERRORS as error:
            # Damage also gives an OSError: without a number from a decompressor, or EINVAL for a position outside the file.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise  # the disk fails, and the archive may be intact
            raise PianogenError(f"{path} is damaged ({cause(error)}); remove it and decode again") from error
