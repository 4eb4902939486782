"""A shard is an append-only file with the outcomes of one rank. A kill at any moment damages its last record at most.

A record has a fixed prefix, a JSON header, and a body, which is the encoded roll (sparse.py). The prefix contains the CRC-32 of
the header, and the header the checksums of the body. Reading stops at the first incomplete record.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from pianogen.midi.counts import Counts
from pianogen.midi.rejection import Reason
from pianogen.roll import Roll
from pianogen.store import Split
from preprocess.errors import PreprocessError
from preprocess.outcome import Outcome, Status
from preprocess.sparse import Encoded, decode, encode

_PREFIX = struct.Struct("<4sIQI")  # magic, header bytes, body bytes, CRC-32 of the header
_MAGIC = b"PGS2"
_READ_AHEAD_BYTES = 1_024  # prefix and nearly every header
_BATCH_STEPS = 1 << 17
_MAX_OPEN_FILES = 64  # MPI may need a file descriptor per rank, and there is a shard per rank


class Entry(NamedTuple):
    """A record without its roll; rank 0 holds one in memory for every input.

    Attributes:
        name, status, reason, message, counts: as in `Outcome`.
        source: SHA-256 of the source bytes, b'' if they could not be read.
        steps: steps of the roll, 0 if rejected.
        first_step: first step of the roll.
        hash_split: the split that the packed rows decide, NONE if rejected.
        content: SHA-256 of the encoded rows and tempos; pieces of equal content are duplicates.
        bar_crc: CRC-32 of the encoded bar positions, with which the body begins.
        bar_bytes: size of the encoded bar positions.
        shard: the file of the record.
        body_offset: byte offset of the body in that file.
        body_bytes: size of the body.
    """

    name: str
    status: Status
    reason: Reason | None
    message: str
    source: bytes
    counts: Counts | None
    steps: int
    first_step: int
    hash_split: Split
    content: bytes
    bar_crc: int
    bar_bytes: int
    shard: Path
    body_offset: int
    body_bytes: int

    @property
    def end(self) -> int:
        """The byte offset at which the record ends."""
        return self.body_offset + self.body_bytes


def append(handle: int, outcome: Outcome) -> int:
    """Appends one record to a shard opened with O_APPEND, and returns its size in bytes."""
    roll = outcome.roll
    content = hashlib.sha256()
    encoded = Encoded(b"", b"", b"", b"")
    hash_split = Split.NONE
    if roll is not None:
        encoded = encode(roll)
        content.update(encoded.rows)
        hash_split = split_of(content.digest())
        content.update(encoded.tempo)
        content.update(encoded.num_steps)
    header = [
        *(outcome.name, outcome.status, outcome.reason or "", outcome.message, outcome.sha256, outcome.counts),
        *(0 if roll is None else len(roll), 0 if roll is None else roll.first_step, hash_split, content.hexdigest()),
        *(zlib.crc32(encoded.bar_position), len(encoded.bar_position)),
    ]
    text = json.dumps(header).encode()
    prefix = _PREFIX.pack(_MAGIC, len(text), sum(map(len, encoded)), zlib.crc32(text))
    record = b"".join([prefix, text, *encoded])
    num_written = os.write(handle, record)
    while num_written < len(record):
        num_written += os.write(handle, memoryview(record)[num_written:])
    return num_written


def split_of(rows_sha256: bytes) -> Split:
    """80% train, 10% valid, 10% test, by the SHA-256 of the encoded rows, so that added files never move a piece."""
    tenth = int.from_bytes(rows_sha256[:4], "big") % 10
    return Split.TRAIN if tenth < 8 else Split.VALID if tenth == 8 else Split.TEST


def read_entries(path: Path, begin: int = 0, end: int | None = None) -> Iterator[Entry]:
    """The complete records of a shard, without their rolls, up to the first incomplete record.

    Args:
        begin: byte offset at which a record begins.
        end: byte offset at which a record ends; None reads to the end of the file.
    """
    with path.open("rb") as file:
        handle, size = file.fileno(), os.fstat(file.fileno()).st_size
        if end is not None:
            size = min(size, end)  # a network file system may not show yet what another node has written
        offset = begin
        while offset + _PREFIX.size <= size:
            start = os.pread(handle, _READ_AHEAD_BYTES, offset)
            magic, header_bytes, body_bytes, header_crc = _PREFIX.unpack_from(start)
            body_offset = offset + _PREFIX.size + header_bytes
            if magic != _MAGIC or body_offset + body_bytes > size:
                return
            text = start[_PREFIX.size : _PREFIX.size + header_bytes]
            if len(text) < header_bytes:
                text = os.pread(handle, header_bytes, offset + _PREFIX.size)
            if zlib.crc32(text) != header_crc:
                return
            entry = _parse_header(text, path, body_offset, body_bytes)
            yield entry
            offset = entry.end


def _parse_header(text: bytes, shard: Path, body_offset: int, body_bytes: int) -> Entry:
    name, status, reason, message, source, counts, steps, first_step, hash_split, content, *bars = json.loads(text)
    return Entry(
        name=name,
        status=Status(status),
        reason=Reason(reason) if reason else None,
        message=message,
        source=bytes.fromhex(source),
        counts=None if counts is None else Counts(*counts),
        steps=steps,
        first_step=first_step,
        hash_split=Split(hash_split),
        content=bytes.fromhex(content),
        bar_crc=bars[0],
        bar_bytes=bars[1],
        shard=shard,
        body_offset=body_offset,
        body_bytes=body_bytes,
    )


def read_rolls(entries: Iterable[Entry], steps_per_quarter: int) -> Iterator[Roll]:
    """The rolls of kept pieces end to end, in batches of complete pieces.

    Raises:
        PreprocessError: a body does not match its checksum.
    """
    bodies: list[bytes] = []
    num_steps = 0
    for entry, body in _read_bodies(entries):
        bodies.append(body)
        num_steps += entry.steps
        if num_steps >= _BATCH_STEPS:
            yield decode(bodies, steps_per_quarter)
            bodies, num_steps = [], 0
    if bodies:
        yield decode(bodies, steps_per_quarter)


def _read_bodies(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """The body of each entry. Shards stay open, because a shared file system takes long to open a file."""
    with ExitStack() as files:
        handles: dict[Path, int] = {}
        for entry in entries:
            if (handle := handles.get(entry.shard)) is None:
                if len(handles) == _MAX_OPEN_FILES:
                    files.close()
                    handles.clear()
                handle = handles[entry.shard] = files.enter_context(entry.shard.open("rb")).fileno()
            body = os.pread(handle, entry.body_bytes, entry.body_offset)
            bars, rest = body[: entry.bar_bytes], memoryview(body)[entry.bar_bytes :]
            if zlib.crc32(bars) != entry.bar_crc or hashlib.sha256(rest).digest() != entry.content:
                raise PreprocessError(
                    f"{entry.shard}: the roll of {entry.name} does not match its checksum; "
                    "remove this file and run the same command again"
                )
            yield entry, body
