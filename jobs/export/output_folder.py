"""Output folders: files are written to a folder only if it is empty or was written from the same source before.

A marker in the folder names the source and lists the files. Files in the list that the source no longer has are removed.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from jobs.records import record_file
from pianogen.errors import UsageError

JOBS = ".jobs"  # in an output folder: scripts, pickles and output of the jobs that write to it
_MARKER = ".pianogen.json"


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of a marker.

    Attributes:
        source: what the folder was written from.
        stores: fingerprints of the exported stores by file name.
        files: paths of all files below the folder that were or will be written.
    """

    source: str
    stores: Mapping[str, str] = field(default_factory=dict)
    files: Collection[str] = ()

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        return cls(str(content["source"]), dict(content["stores"]), list(content["files"]))


class OutputFolder:
    """An output folder that this program may write to.

    Args:
        path: the folder; it need not exist.
        source: what is written to it.
        former_sources: earlier names of the source.

    Raises:
        UsageError: the folder has files of the user, or was written from another source.
        RecordError: its marker is damaged.
    """

    def __init__(self, path: Path, source: str, former_sources: Collection[str] = ()) -> None:
        self.path = path
        marker = path / _MARKER
        if marker.is_file():
            self._content = _read_marker(marker)
            if self._content.source not in (source, *former_sources):
                raise UsageError(
                    f"{path} was written from {self._content.source}, expected {source}; remove it, or choose another --out"
                )
            return
        if path.exists() and not (path.is_dir() and all(entry.name == JOBS for entry in path.iterdir())):
            is_sweep = (path / "sweep.yaml").exists() or (path / "config.yaml").exists()
            found = "is the directory of a sweep or a run" if is_sweep else "exists and was not written by this program"
            raise UsageError(f"{path} {found}; choose another folder with --out")
        self._content = _Content(source)

    def claim(self) -> None:
        """Creates the folder and its marker, if they do not exist."""
        if not (self.path / _MARKER).is_file():
            self.path.mkdir(parents=True, exist_ok=True)
            self._write(self._content)

    def begin(self, stores: Mapping[str, str], files: Mapping[str, str]) -> None:
        """Prepares the folder for its new content: removes stale files, and records the files that will be written.

        A file is stale if the source no longer has it, or if its store has been replaced.

        Args:
            stores: fingerprints by file name of the store.
            files: the file name of the store by path of the file below the folder; '' for files that are written each time.

        Raises:
            UsageError: a file of the user has the name of an output file.
        """
        recorded = self._content
        kept = {name: fingerprint for name, fingerprint in recorded.stores.items() if stores.get(name) == fingerprint}
        for name in files:
            if name not in recorded.files and (self.path / name).exists():
                raise UsageError(
                    f"{self.path / name} exists and was not written by this program; move it away, or choose another --out"
                )
        stale = [name for name in recorded.files if name not in files or (files[name] and files[name] not in kept)]
        if stale:
            self._write(_Content(recorded.source, kept, sorted({*recorded.files, *files})))
        for name in stale:
            self._remove(name)
        content = _Content(recorded.source, dict(stores), sorted(files))
        if content != self._content or not (self.path / _MARKER).is_file():
            self._write(content)

    def _write(self, content: _Content) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        record_file.write(self.path / _MARKER, asdict(content))
        self._content = content

    def _remove(self, name: str) -> None:
        path = self.path / name
        path.unlink(missing_ok=True)
        for folder in path.relative_to(self.path).parents:
            if folder.name:
                with suppress(OSError):  # it has other files
                    (self.path / folder).rmdir()


def read_fingerprints(folder: Path) -> Mapping[str, str]:
    """The fingerprints of the stores that a folder has files of, by file name of the store; empty without a marker."""
    marker = folder / _MARKER
    return _read_marker(marker).stores if marker.is_file() else {}


def _read_marker(marker: Path) -> _Content:
    return record_file.read(marker, _Content.parse, f"remove {marker.parent}, or choose another --out")
