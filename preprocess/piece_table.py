"""The pieces of all shards in columns: rank 0 has 300 bytes of memory for every piece, half of them its signature."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from pianogen.midi.counts import Counts
from pianogen.midi.rejection import Reason
from pianogen.midi.signature import NUM_BINS
from preprocess.text_column import TextColumn

REASONS = list(Reason)
KEPT = len(REASONS)  # in the column `reason`
# The columns of a piece in a shard:
#     input             the number of the input in the order of names
#     tune              0 for the only piece of an input, else 1, 2, ...
#     num_pieces        pieces of the input
#     reason            index in REASONS, or KEPT
#     split             the split that the hash of the piece chooses, NONE if rejected
#     has_signature     False if the piece is rejected or has no shingles
#     counts            the fields of `Counts`, 0 if rejected
#     source            SHA-256 of the source bytes, 0 if they could not be read
#     content           first half of the SHA-256 of rows and tempos; equal pieces have equal contents
#     body_bytes        size of the encoded roll, 0 if rejected
#     body_crc          CRC-32 of the encoded roll
#     text_bytes        size of the text: the message of a rejected piece, the repairs of another one
PIECE = np.dtype(
    [
        *(("input", "<u4"), ("tune", "<u4"), ("num_pieces", "<u4")),
        *(("reason", "u1"), ("split", "u1"), ("has_signature", "?")),
        *(("steps", "<u4"), ("first_step", "<i8"), ("counts", "<u4", (len(Counts._fields),))),
        *(("source", "u1", (32,)), ("content", "<u8", (2,))),
        *(("body_bytes", "<u4"), ("body_crc", "<u4"), ("text_bytes", "<u4")),
    ]
)
# And in the memory of rank 0: the number of the shard, the byte offset of the body, the number of the text.
ROW = np.dtype([*PIECE.descr, ("shard", "<u4"), ("body_offset", "<u8"), ("text", "<u4")])
_NO_RECORD = -1
# These rejections may come from a busy machine, the limits of one machine, or permissions and errors of the file system, and a
# repair may change neither size nor time of the file; such inputs are converted again.
_MACHINE_REASONS = [REASONS.index(reason) for reason in (Reason.TIMEOUT, Reason.CRASHED, Reason.MEMORY, Reason.UNREADABLE)]


class Batch(NamedTuple):
    """The pieces of consecutive records of one shard.

    Attributes:
        rows: (N,) ROW; the table sets the numbers of shard and text.
        signatures: (N, 128) uint8.
        texts: the texts that are not empty, by position in the batch.
    """

    rows: np.ndarray
    signatures: np.ndarray
    texts: Mapping[int, str]


class PieceTable:
    """The pieces that were read from the shards so far, numbered in order of arrival.

    Args:
        inputs: the names of the inputs, in order; every input gives one piece at least.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self._inputs = inputs
        self._size = 0
        self._rows = np.empty(len(inputs), ROW)  # memory that is not written yet is not in use
        self._signatures = np.empty((len(inputs), NUM_BINS), np.uint8)
        self._texts = TextColumn([""])
        self._first_piece = np.full(len(inputs), _NO_RECORD)  # of each input

    @property
    def rows(self) -> np.ndarray:
        """(N,) ROW, also those that a later record of the same input replaces."""
        return np.asarray(self._rows[: self._size])

    @property
    def signatures(self) -> np.ndarray:
        """(N, 128) uint8."""
        return self._signatures[: self._size]

    def drop_signatures(self) -> None:
        """Releases the memory of the signatures."""
        self._signatures = np.empty((0, NUM_BINS), np.uint8)

    def input_name(self, source: int) -> str:
        """The name of an input."""
        return self._inputs[source]

    def num_tunes(self, source: int) -> int:
        """The number of pieces of an input, 0 if it is rejected as a whole."""
        tune, num_pieces, reason = self._rows[["tune", "num_pieces", "reason"]][self._first_piece[source]].tolist()
        return num_pieces if tune or reason == KEPT else 0

    def names(self, pieces: np.ndarray) -> list[str]:
        """The names of pieces."""
        inputs = map(self._inputs.__getitem__, self._rows["input"][pieces].tolist())
        tunes = self._rows["tune"][pieces].tolist()
        return [f"{name}#{tune}" if tune else name for name, tune in zip(inputs, tunes, strict=True)]

    def name(self, piece: int) -> str:
        """The name of a piece."""
        return self.names(np.array([piece]))[0]

    def text(self, piece: int) -> str:
        """The message of a rejected piece, the repairs of another one."""
        return self._texts[int(self._rows["text"][piece])]

    def add(self, batch: Batch, shard: int) -> None:
        """Adds pieces; an input keeps its first record, unless the machine may be the cause of its rejection."""
        begin, self._size = self._size, self._size + len(batch.rows)
        if self._size > len(self._rows):
            capacity = max(self._size, len(self._rows) * 3 // 2)
            self._rows, self._signatures = np.resize(self._rows, capacity), np.resize(self._signatures, (capacity, NUM_BINS))
        self._rows[begin : self._size] = batch.rows
        self._rows["shard"][begin : self._size] = shard
        self._signatures[begin : self._size] = batch.signatures
        for position, text in batch.texts.items():
            self._rows["text"][begin + position] = len(self._texts)
            self._texts.append(text)
        first_pieces = begin + np.flatnonzero(batch.rows["tune"] <= 1)
        inputs = self._rows["input"][first_pieces]
        is_accepted = ~self._is_final(inputs)
        self._first_piece[inputs[is_accepted]] = first_pieces[is_accepted]

    def _is_final(self, inputs: np.ndarray) -> np.ndarray:
        """Which of these inputs have a record that a later one does not replace."""
        first_pieces = self._first_piece[inputs]
        is_final = first_pieces != _NO_RECORD
        is_final[is_final] = ~np.isin(self.rows["reason"][first_pieces[is_final]], _MACHINE_REASONS)
        return np.asarray(is_final)

    def final_inputs(self) -> np.ndarray:
        """(len(inputs),) bool: inputs with a record, unless the machine may be the cause of their rejection."""
        return self._is_final(np.arange(len(self._inputs)))

    def missing_inputs(self) -> np.ndarray:
        """The numbers of the inputs without a record."""
        return np.flatnonzero(self._first_piece == _NO_RECORD)

    def order(self) -> np.ndarray:
        """(P,) int64 numbers of the pieces of all inputs, in order of name; every input must have a record."""
        num_pieces = self.rows["num_pieces"][self._first_piece].astype(np.int64)
        ends = np.cumsum(num_pieces)
        pieces: np.ndarray = np.arange(ends[-1]) + np.repeat(self._first_piece - ends + num_pieces, num_pieces)
        end = 0
        for source in np.flatnonzero(num_pieces > 1).tolist():
            if source >= end:
                # "a.abc#2" comes after "a.abc#10", and maybe after other inputs whose names begin with "a.abc".
                end = source + self._num_with_prefix(source)
                block = slice(ends[source] - num_pieces[source], ends[end - 1])
                pieces[block] = sorted(pieces[block].tolist(), key=self.name)
        return pieces

    def _num_with_prefix(self, source: int) -> int:
        """The number of inputs, from this one on, whose names begin with its name."""
        names = map(self._inputs.__getitem__, range(source, len(self._inputs)))
        return sum(1 for _ in takewhile(lambda name: name.startswith(self._inputs[source]), names))
