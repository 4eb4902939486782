"""The unfinished work on one store: its folder, what it belongs to, and the shards in it."""

import hashlib
import json
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pianogen
from pianogen import atomic
from pianogen.lock import BatchJob, Lock
from pianogen.midi.rejection import Reason
from preprocess.merge import PreprocessError
from preprocess.outcome import Options
from preprocess.shard import Entry, read_entries
from preprocess.sources import Input

_HIDDEN_S = 90.0  # NFS may take a minute to show what another node has written
_LOOK_EVERY_S = 1.0
# An input may be refused for these on a machine that is busy, or has limits of its own: it is tried again.
_OF_THE_MACHINE = (Reason.TIMEOUT, Reason.CRASHED, Reason.MEMORY)


class Job:
    """The folder beside a store in which ranks keep what they have finished, and what is known of it.

    Attributes:
        folder: STORE.tmp-work.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: dict[str, Entry] = {}
        self._bytes_read: dict[Path, int] = {}

    @classmethod
    def beside(cls, store: Path) -> "Job":
        """The job that makes this store."""
        return cls(store.with_name(store.name + ".tmp-work"))

    def new_shard(self) -> Path:
        """A path for one rank's shard, unlike that of any rank of any attempt."""
        return self.folder / f"shard-{uuid.uuid4().hex}"

    def begin(self, inputs: Sequence[Input], options: Options) -> list[Input]:
        """Prepares the folder; what is left to do of the inputs.

        Shards of the same corpus and options are kept, apart from inputs that ran out of time, which are tried again.
        Others are removed, and that is said.
        """
        identity = _identity(inputs, options)
        marker = self.folder / "job.json"
        shards = list(self.folder.glob("shard-*"))
        if shards and not (marker.is_file() and identity in marker.read_text(errors="replace")):
            print(f"removing unfinished work on another corpus, other options or another version: {self.folder}", file=sys.stderr)
            for shard in shards:
                shard.unlink()
        atomic.write_text(marker, json.dumps({"identity": identity}))
        self._read_shards()
        done = {name for name, entry in self._entries.items() if entry.reason not in _OF_THE_MACHINE}
        if done:
            print(f"resuming: {len(done)} of {len(inputs)} inputs were finished before", file=sys.stderr)
        return sorted((each for each in inputs if each.name not in done), key=lambda each: each.reading_order)

    def read_shard(self, shard: Path, size: int | None = None) -> None:
        """Learns what a shard holds, as far as it was not read before.

        Args:
            size: bytes that are finished while it is still being written.
        """
        with suppress(FileNotFoundError):  # a new one on another node, which `finished` will wait for
            for entry in read_entries(shard, self._bytes_read.get(shard, 0), size):
                if entry.name not in self._entries or self._entries[entry.name].reason in _OF_THE_MACHINE:
                    self._entries[entry.name] = entry
                self._bytes_read[shard] = entry.body_at + entry.body_size

    def finished(self, inputs: Sequence[Input]) -> list[Entry]:
        """One entry per input, in the order of the inputs, once a network file system shows them all.

        Raises:
            PreprocessError: some are missing.
        """
        deadline = time.monotonic() + _HIDDEN_S
        self._read_shards()  # nearly all was read while it came in
        while missing := [each.name for each in inputs if each.name not in self._entries]:
            if time.monotonic() > deadline:
                raise PreprocessError(
                    f"{len(missing)} inputs are in no shard of {self.folder}, {missing[0]} among them; run the same command again"
                )
            time.sleep(_LOOK_EVERY_S)
            self._read_shards()
        return [self._entries[each.name] for each in inputs]

    @contextmanager
    def locked(self, store: Path, batch_job: BatchJob) -> Iterator[None]:
        """Makes the folder and keeps other preprocessors out; leaves no folder behind in which nothing was begun.

        Raises:
            LockError: another preprocessor is at work on this store.
        """
        self.folder.mkdir(exist_ok=True)
        with Lock(self.folder / "lock", f"{store} is being written", batch_job):
            try:
                yield
            finally:
                if not any(self.folder.glob("shard-*")):
                    shutil.rmtree(self.folder)

    def end(self) -> None:
        """Removes the shards: the store is written."""
        with ThreadPoolExecutor() as threads:  # removing gigabytes takes a while, and there is one shard a rank
            list(threads.map(Path.unlink, self.folder.glob("shard-*")))

    def _read_shards(self) -> None:
        for shard in sorted(self.folder.glob("shard-*")):
            self.read_shard(shard)


def _identity(inputs: Sequence[Input], options: Options) -> str:
    digest = hashlib.sha256(json.dumps([pianogen.__version__, asdict(options)]).encode())
    for each in inputs:
        digest.update(f"{each.name}\0{each.size}\0{each.mtime_ns}\0".encode())
    return digest.hexdigest()
