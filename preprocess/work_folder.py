"""The work folder of a store: the shards of unfinished preprocessing, from which the same command resumes."""

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pianogen
from pianogen import atomic
from pianogen.lock import BatchJob, Lock
from pianogen.midi.options import ReadOptions
from pianogen.midi.rejection import Reason
from pianogen.polling import wait_until
from preprocess.errors import PreprocessError
from preprocess.shard import Entry, read_entries
from preprocess.sources import Input

_MAX_DELAY_S = 90.0  # NFS may take a minute to show what another node has written
_POLL_S = 1.0
# These rejections may come from a busy machine or from the limits of one machine; such inputs are converted again.
_MACHINE_REASONS = (Reason.TIMEOUT, Reason.CRASHED, Reason.MEMORY)
_log = logging.getLogger(__name__)


class WorkFolder:
    """The work folder of a store, and the entries read from its shards so far.

    Args:
        path: the folder, STORE.tmp-work.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, Entry] = {}
        self._bytes_read: dict[Path, int] = {}

    @classmethod
    def of(cls, store: Path) -> "WorkFolder":
        """The work folder of this store."""
        return cls(store.with_name(store.name + ".tmp-work"))

    def new_shard(self) -> Path:
        """The path of a new shard, which no rank of any attempt shares."""
        return self.path / f"shard-{uuid.uuid4().hex}"

    def prepare(self, inputs: Sequence[Input], options: ReadOptions) -> list[Input]:
        """Prepares the folder and returns the inputs that are not finished, in reading order.

        Shards of the same corpus and options are kept; others are removed, with a warning.
        """
        identity = _identity(inputs, options)
        marker = self.path / "job.json"
        shards = self._shards()
        if shards and not (marker.is_file() and identity in marker.read_text(errors="replace")):
            _log.warning("%s holds unfinished work of another corpus, other options or another version; removing it", self.path)
            for shard in shards:
                shard.unlink()
        atomic.write_text(marker, json.dumps({"identity": identity}))
        self._read_shards()
        finished = {name for name, entry in self._entries.items() if entry.reason not in _MACHINE_REASONS}
        if finished:
            _log.info("resuming: %s of %s inputs are already finished", len(finished), len(inputs))
        return sorted((source for source in inputs if source.name not in finished), key=lambda source: source.reading_order)

    def read_shard(self, shard: Path, num_bytes: int | None = None) -> None:
        """Reads the entries of a shard that were not read before.

        Args:
            num_bytes: the size up to which the shard is complete, while its rank still appends to it; None reads all.
        """
        with suppress(FileNotFoundError):  # a shard of another node that is not visible yet; `collect_entries` waits for it
            for entry in read_entries(shard, self._bytes_read.get(shard, 0), num_bytes):
                if entry.name not in self._entries or self._entries[entry.name].reason in _MACHINE_REASONS:
                    self._entries[entry.name] = entry
                self._bytes_read[shard] = entry.end

    def collect_entries(self, inputs: Sequence[Input]) -> list[Entry]:
        """One entry per input, in the order of the inputs; waits until a network file system shows all of them.

        Raises:
            PreprocessError: some are missing.
        """
        if not wait_until(lambda: self._has_all(inputs), _MAX_DELAY_S, _POLL_S):
            missing = [source.name for source in inputs if source.name not in self._entries]
            raise PreprocessError(
                f"no shard in {self.path} holds the outcomes of {len(missing)} of {len(inputs)} inputs, such as {missing[0]}; "
                "run the same command again"
            )
        return [self._entries[source.name] for source in inputs]

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
                    shutil.rmtree(self.path)

    def remove_shards(self) -> None:
        """Removes the shards once the store is written."""
        with ThreadPoolExecutor() as threads:  # there is one shard per rank, and removing gigabytes takes long
            list(threads.map(Path.unlink, self._shards()))

    def _shards(self) -> list[Path]:
        return sorted(self.path.glob("shard-*"))

    def _read_shards(self) -> None:
        for shard in self._shards():
            self.read_shard(shard)

    def _has_all(self, inputs: Sequence[Input]) -> bool:
        self._read_shards()
        return all(source.name in self._entries for source in inputs)


def _identity(inputs: Sequence[Input], options: ReadOptions) -> str:
    """A hash that is equal for the same corpus, options and version."""
    digest = hashlib.sha256(json.dumps([pianogen.__version__, asdict(options)]).encode())
    for source in inputs:
        digest.update(f"{source.name}\0{source.size}\0{source.mtime_ns}\0".encode())
    return digest.hexdigest()
