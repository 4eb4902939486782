"""A shard: the finished outcomes of one rank, in an append-only file that survives a kill at any moment.

Each record is a fixed prefix, a JSON header with a checksum, and the roll without its zeros, whose hash is in the header. What
was being written when a process died is an incomplete last record, and is seen as such.
"""

import hashlib
import json
import os
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from pianogen.errors import PianogenError
from pianogen.midi.counts import Counts
from pianogen.roll import Roll
from pianogen.store import Split
from preprocess.outcome import Outcome
from preprocess.sparse import expand, squeeze

_PREFIX = struct.Struct("<4sIQI")  # magic, header bytes, body bytes, crc32 of the header
_MAGIC = b"PGS1"
_LIKELY_HEADER = 1_024
_BATCH_STEPS = 1 << 17
_MAX_OPEN = 64  # there may be a shard a rank, and rank 0 may hold a connection to each rank as well


class Entry(NamedTuple):
    """An outcome without its rows, which are read when they are needed; there is one in memory for every input.

    Attributes:
        name, status, reason, message, counts: as in `Outcome`.
        source: sha256 of the source bytes, as bytes.
        steps: rows of the roll, 0 if rejected.
        first_step: of the roll.
        hash_split: the split that the packed rows decide.
        content: sha256 of the squeezed rows, tempo and length, as bytes; equal pieces are duplicates.
        shard: the file it lies in.
        body_at: where its roll begins there.
        body_size: bytes of it.
    """

    name: str
    status: str
    reason: str
    message: str
    source: bytes
    counts: Counts | None
    steps: int
    first_step: int
    hash_split: Split
    content: bytes
    shard: Path
    body_at: int
    body_size: int


def append(handle: int, outcome: Outcome) -> int:
    """Writes one outcome at the end of a shard opened with O_APPEND; how many bytes that were."""
    roll = outcome.roll
    content = hashlib.sha256()
    rows = tempo = b""
    hash_split = Split.NONE
    if roll is not None:
        rows, tempo = squeeze(roll)
        content.update(rows)
        hash_split = split_of(content.digest())
        content.update(tempo)
    counts = outcome.counts
    header = [
        *(outcome.name, outcome.status, outcome.reason, outcome.message, outcome.sha256),
        *(counts, 0 if roll is None else len(roll), 0 if roll is None else roll.first_step, hash_split, content.hexdigest()),
    ]
    text = json.dumps(header).encode()
    prefix = _PREFIX.pack(_MAGIC, len(text), len(rows) + len(tempo), zlib.crc32(text))
    record = b"".join([prefix, text, rows, tempo])
    num_written = os.write(handle, record)
    while num_written < len(record):
        num_written += os.write(handle, memoryview(record)[num_written:])
    return num_written


def split_of(rows_sha256: bytes) -> Split:
    """80 % train, 10 % valid, 10 % test, by the hash of the squeezed rows: adding files never moves a piece."""
    tenth = int.from_bytes(rows_sha256[:4], "big") % 10
    return Split.TRAIN if tenth < 8 else Split.VALID if tenth == 8 else Split.TEST


def read_entries(path: Path, begin: int = 0, end: int | None = None) -> Iterator[Entry]:
    """The whole records of a shard, without their rows; ends where the first incomplete record begins.

    Args:
        begin: a byte at which a record begins.
        end: a byte at which one ended, while others may still be written; None reads all.
    """
    with path.open("rb") as file:
        handle, size = file.fileno(), os.fstat(file.fileno()).st_size
        if end is not None:
            size = min(size, end)  # a network file system may not show yet all that another node has written
        at = begin
        while at + _PREFIX.size <= size:
            start = os.pread(handle, _LIKELY_HEADER, at)  # one call for prefix and header, rarely another
            magic, header_size, body_size, header_crc = _PREFIX.unpack_from(start)
            body_at = at + _PREFIX.size + header_size
            if magic != _MAGIC or body_at + body_size > size:
                return
            text = start[_PREFIX.size : _PREFIX.size + header_size]
            if len(text) < header_size:
                text = os.pread(handle, header_size, at + _PREFIX.size)
            if zlib.crc32(text) != header_crc:
                return
            name, status, reason, message, source, counts, steps, first_step, hash_split, content = json.loads(text)
            yield Entry(
                name=name,
                status=sys.intern(status),
                reason=sys.intern(reason),
                message=message,
                source=bytes.fromhex(source),
                counts=None if counts is None else Counts(*counts),
                steps=steps,
                first_step=first_step,
                hash_split=Split(hash_split),
                content=bytes.fromhex(content),
                shard=path,
                body_at=body_at,
                body_size=body_size,
            )
            at = body_at + body_size


def read_rows(entries: Iterable[Entry]) -> Iterator[Roll]:
    """The rows of kept pieces end to end, some pieces at a time, none of them divided.

    Raises:
        PianogenError: they are not what was written.
    """
    squeezed: list[bytes] = []
    num_steps = 0
    for entry, body in _read_bodies(entries):
        squeezed.append(body)
        num_steps += entry.steps
        if num_steps >= _BATCH_STEPS:
            yield expand(squeezed)
            squeezed, num_steps = [], 0
    if squeezed:
        yield expand(squeezed)


def _read_bodies(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """What `squeeze` gave for each; shards stay open, because opening one again and again takes a while on a shared disk."""
    with ExitStack() as files:
        handles: dict[Path, int] = {}
        for entry in entries:
            if (handle := handles.get(entry.shard)) is None:
                if len(handles) == _MAX_OPEN:
                    files.close()
                    handles.clear()
                handle = handles[entry.shard] = files.enter_context(entry.shard.open("rb")).fileno()
            body = os.pread(handle, entry.body_size, entry.body_at)
            if hashlib.sha256(body).digest() != entry.content:
                raise PianogenError(
                    f"{entry.shard}: the rows of {entry.name} are damaged; remove this file and run the same command again"
                )
            yield entry, body
