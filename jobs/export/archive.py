"""The ZIP files that `decode --archive` writes."""

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
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        try:
            with ZipFile(file) as archive:
                yield archive
        except ZIP_ERRORS as error:
            raise PianogenError(f"{path} is damaged ({cause(error)}); remove it and decode again") from error
