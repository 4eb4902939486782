"""A shard is an append-only file with the outcomes of one rank. A kill at any moment damages its last record at most.

A record has all pieces of one input, so that an input has either a complete record or none. It consists of a fixed prefix; a
header: the columns of the pieces (piece_table.py), their signatures and texts; and a body: the encoded rolls (sparse.py). The
prefix contains the CRC-32 of the header, and the header the CRC-32 of every roll. Reading stops at the first incomplete record.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pianogen.midi.signature import NUM_BINS
from pianogen.roll import Roll
from pianogen.store import Split
from preprocess.errors import PreprocessError
from preprocess.hash_split import hash_split
from preprocess.outcome import Outcome
from preprocess.piece_table import KEPT, PIECE, REASONS, ROW, Batch, PieceTable
from preprocess.sparse import decode, encode

_PREFIX = struct.Struct("<4sIIQI")  # magic, number of pieces, header bytes, body bytes, CRC-32 of the header
_MAGIC = b"PGS3"
_NO_SIGNATURE = bytes(NUM_BINS)
_READ_AHEAD_BYTES = 512  # prefix and nearly every header
_BATCH_RECORDS = 4_096
_BATCH_STEPS = 1 << 17
_MAX_OPEN_FILES = 64  # MPI may need a file descriptor per rank, and there is a shard per rank


def append(handle: int, index: int, outcomes: Sequence[Outcome]) -> int:
    """Appends the record of an input to a shard opened with O_APPEND, and returns the size of the record in bytes.

    Args:
        index: the number of the input.
        outcomes: the outcome of every piece of the input.
    """
    texts = [outcome.text.encode() for outcome in outcomes]
    rows, bodies = [], []
    for number, (outcome, text) in enumerate(zip(outcomes, texts, strict=True), 1):
        tune = number if len(outcomes) > 1 else 0
        columns, body = _describe(outcome)
        rows.append((index, tune, len(outcomes), *columns, len(text)))
        bodies.append(body)
    signatures = [outcome.minhash.signature if outcome.minhash else _NO_SIGNATURE for outcome in outcomes]
    header, body = b"".join([np.array(rows, PIECE).tobytes(), *signatures, *texts]), b"".join(bodies)
    prefix = _PREFIX.pack(_MAGIC, len(outcomes), len(header), len(body), zlib.crc32(header))
    record = b"".join([prefix, header, body])
    num_written = os.write(handle, record)
    while num_written < len(record):
        num_written += os.write(handle, memoryview(record)[num_written:])
    return num_written


def _describe(outcome: Outcome) -> tuple[tuple[Any, ...], bytes]:
    """The columns of a piece from `reason` to `body_crc`, in the order of PIECE, and its body."""
    source = np.frombuffer(bytes.fromhex(outcome.sha256) or bytes(32), np.uint8)
    roll, counts, minhash = outcome.roll, outcome.counts, outcome.minhash
    if roll is None or counts is None:
        reason = KEPT if outcome.reason is None else REASONS.index(outcome.reason)
        return (reason, Split.NONE, False, 0, 0, 0, source, 0, 0, 0), b""
    encoded = encode(roll)
    body = encoded.bar_position + encoded.content
    content = np.frombuffer(hashlib.sha256(encoded.content).digest()[:16], "<u8")
    kind = KEPT, hash_split(roll, minhash), minhash is not None
    return (*kind, len(roll), roll.first_step, counts, source, content, len(body), zlib.crc32(body)), body


class _Record(NamedTuple):
    """The header of a record, the number of its pieces, and the byte offset of its body."""

    header: bytes
    num_pieces: int
    body_offset: int


def read_records(path: Path, begin: int = 0, end: int | None = None) -> Iterator[tuple[Batch, int]]:
    """The complete records of a shard, up to the first incomplete record, and the byte offset at which they end.

    Args:
        begin: byte offset at which a record begins.
        end: byte offset at which a record ends; None reads to the end of the file.
    """
    with path.open("rb") as file:
        handle, size = file.fileno(), os.fstat(file.fileno()).st_size
        if end is not None:
            size = min(size, end)  # a network file system may not show yet what another node has written
        offset = begin
        while True:
            records, offset = _read_headers(handle, offset, size)
            if not records:
                return
            yield _make_batch(records), offset


def _read_headers(handle: int, offset: int, size: int) -> tuple[list[_Record], int]:
    """Some records that begin at an offset, and the offset at which they end."""
    records: list[_Record] = []
    while offset + _PREFIX.size <= size and len(records) < _BATCH_RECORDS:
        start = os.pread(handle, _READ_AHEAD_BYTES, offset)
        magic, num_pieces, header_bytes, body_bytes, header_crc = _PREFIX.unpack_from(start)
        body_offset = offset + _PREFIX.size + header_bytes
        if magic != _MAGIC or body_offset + body_bytes > size:
            break
        header = start[_PREFIX.size : _PREFIX.size + header_bytes]
        if len(header) < header_bytes:
            header = os.pread(handle, header_bytes, offset + _PREFIX.size)
        if zlib.crc32(header) != header_crc:
            break
        records.append(_Record(header, num_pieces, body_offset))
        offset = body_offset + body_bytes
    return records, offset


def _make_batch(records: Sequence[_Record]) -> Batch:
    num_pieces = np.array([record.num_pieces for record in records])
    signatures_begin, texts_begin = num_pieces * PIECE.itemsize, num_pieces * (PIECE.itemsize + NUM_BINS)
    pieces = np.frombuffer(_join(records, np.zeros_like(num_pieces), signatures_begin), PIECE)
    signatures = np.frombuffer(_join(records, signatures_begin, texts_begin), np.uint8).reshape(-1, NUM_BINS)
    joined = _join(records, texts_begin, np.array([len(record.header) for record in records]))
    ends = np.cumsum(pieces["text_bytes"], dtype=np.int64)
    texts = {
        number: joined[ends[number] - pieces["text_bytes"][number] : ends[number]].decode()
        for number in np.flatnonzero(pieces["text_bytes"]).tolist()
    }
    rows = np.zeros(len(pieces), ROW)
    for column in PIECE.names or ():
        rows[column] = pieces[column]
    sizes = pieces["body_bytes"].astype(np.int64)
    offsets = np.cumsum(sizes) - sizes  # as if all bodies followed each other
    gaps = np.array([record.body_offset for record in records]) - offsets[np.cumsum(num_pieces) - num_pieces]
    rows["body_offset"] = offsets + np.repeat(gaps, num_pieces)
    return Batch(rows, signatures, texts)


def _join(records: Sequence[_Record], begins: np.ndarray, ends: np.ndarray) -> bytes:
    """A span of every header, end to end."""
    spans = zip(records, begins.tolist(), ends.tolist(), strict=True)
    return b"".join([record.header[begin:end] for record, begin, end in spans])


def read_rolls(table: PieceTable, order: np.ndarray, shards: Sequence[Path], steps_per_quarter: int) -> Iterator[Roll]:
    """The rolls of kept pieces end to end, in batches of complete pieces.

    Args:
        order: (P,) numbers of the pieces in the table.
        shards: the files by number.

    Raises:
        PreprocessError: a body does not match its checksum.
    """
    bodies: list[bytes] = []
    num_steps = 0
    for steps, body in _read_bodies(table, order, shards):
        bodies.append(body)
        num_steps += steps
        if num_steps >= _BATCH_STEPS:
            yield decode(bodies, steps_per_quarter)
            bodies, num_steps = [], 0
    if bodies:
        yield decode(bodies, steps_per_quarter)


def _read_bodies(table: PieceTable, order: np.ndarray, shards: Sequence[Path]) -> Iterator[tuple[int, bytes]]:
    """Steps and body of each piece. Shards stay open, because a shared file system takes long to open a file."""
    with ExitStack() as files:
        handles: dict[int, int] = {}
        for piece, shard, offset, size, crc, steps in _places(table, order):
            if (handle := handles.get(shard)) is None:
                if len(handles) == _MAX_OPEN_FILES:
                    files.close()
                    handles.clear()
                handle = handles[shard] = files.enter_context(shards[shard].open("rb")).fileno()
            body = os.pread(handle, size, offset)
            if zlib.crc32(body) != crc:
                raise PreprocessError(
                    f"{shards[shard]}: the roll of {table.name(piece)} does not match its checksum; "
                    "remove this file and run the same command again"
                )
            yield steps, body


def _places(table: PieceTable, order: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Number, shard, body offset, body size, CRC-32 and steps of each piece."""
    for begin in range(0, len(order), _BATCH_RECORDS):
        numbers = order[begin : begin + _BATCH_RECORDS]
        rows = table.rows[numbers]
        columns = (rows[name].tolist() for name in ("shard", "body_offset", "body_bytes", "body_crc", "steps"))
        yield from zip(numbers.tolist(), *columns, strict=True)
