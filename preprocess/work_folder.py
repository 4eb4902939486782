"""The work folder of a store: the shards of unfinished preprocessing, from which the same command resumes."""

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pianogen
from pianogen import atomic
from pianogen.command import counted
from pianogen.errors import cause
from pianogen.lock import BatchJob, Lock
from pianogen.midi.options import ReadOptions
from preprocess.inputs import Inputs
from preprocess.shard_reader import ShardReader

_log = logging.getLogger(__name__)


class WorkFolder:
    """The work folder of a store.

    Args:
        path: the folder, STORE.tmp-work.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, store: Path) -> "WorkFolder":
        """The work folder of this store."""
        return cls(store.with_name(store.name + ".tmp-work"))

    def new_shard(self) -> Path:
        """The path of a new shard, which no rank of any attempt shares."""
        return self.path / f"shard-{uuid.uuid4().hex}"

    def prepare(self, inputs: Inputs, options: ReadOptions) -> ShardReader:
        """Prepares the folder, and returns the reader of its shards.

        Shards of the same corpus and options are kept and read; others are removed, with a warning.
        """
        identity = _identity(inputs, options)
        marker = self.path / "job.json"
        shards = self._shards()
        if shards and not (marker.is_file() and identity in marker.read_text(errors="replace")):
            _log.warning("%s holds unfinished work of another corpus, other options or another version; removing it", self.path)
            for shard in shards:
                shard.unlink()
        atomic.write_text(marker, json.dumps({"identity": identity}))
        reader = ShardReader(self.path, inputs)
        reader.read_all()
        if num_finished := int(reader.table.final_inputs().sum()):
            _log.info("resuming: %d of %s already finished", num_finished, counted(len(inputs), "input", "are"))
        return reader

    @contextmanager
    def locked(self, store: Path, batch_job: BatchJob) -> Iterator[None]:
        """Creates the folder and locks it; at the end, removes the folder unless it holds shards.

        Raises:
            LockError: another process is preprocessing this store.
        """
        self.path.mkdir(exist_ok=True)
        with Lock(self.path / "lock", f"{store} is being written", batch_job):
            try:
                yield
            finally:
                if not self._shards():
                    self._remove()

    def _remove(self) -> None:
        """Removes the folder; the store is complete without that, so a failure is a warning."""
        try:
            shutil.rmtree(self.path)
        except OSError as error:  # a link to a folder on another disk, or a file that a network file system holds open
            _log.warning("%s cannot be removed (%s); remove it when no process uses it", self.path, cause(error))

    def remove_shards(self) -> None:
        """Removes the shards once the store is written."""
        with ThreadPoolExecutor() as threads:  # there is one shard per rank, and removing gigabytes takes long
            list(threads.map(Path.unlink, self._shards()))

    def _shards(self) -> list[Path]:
        return sorted(self.path.glob("shard-*"))


def _identity(inputs: Inputs, options: ReadOptions) -> str:
    """A hash that is equal for the same corpus, options and version."""
    digest = hashlib.sha256(json.dumps([pianogen.__version__, asdict(options)]).encode())
    for source in inputs:
        digest.update(f"{source.name}\0{source.size}\0{source.mtime_ns}\0".encode())
    return digest.hexdigest()
