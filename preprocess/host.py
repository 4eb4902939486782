"""The host process of a rank: receives chunks, has a worker process convert them, and sends back a result for each chunk."""

import functools
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pianogen.errors import PianogenError
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import is_score, read_roll
from preprocess.child_process import receive_inputs
from preprocess.errors import ShardError
from preprocess.inputs import Input
from preprocess.outcome import convert
from preprocess.worker import Limits, WorkerProcess

# One note; reading it compiles every kernel of the MIDI reader.
WARM_UP_MIDI = b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\x0c\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """The result of one chunk.

    Attributes:
        num_inputs: inputs of the chunk.
        num_rejected: rejected pieces of the chunk.
        shard: the file that holds the records of the chunk.
        shard_bytes: the size of that file after the last record of the chunk.
    """

    num_inputs: int
    num_rejected: int
    shard: Path
    shard_bytes: int


def run(connection: Connection, shard: Path, options: ReadOptions, limits: Limits) -> None:
    """Converts the chunks of a rank until the rank sends None or ends.

    Args:
        connection: receives chunks and returns a ChunkResult or a PianogenError for each.
        shard: the file that records are appended to.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rank handles an interrupt
    # Imported here: the rank, which imports this module too, must not load numba.
    from pianogen.kernel_cache import compile_once, release_compiler
    from pianogen.midi.shingles import minhash

    compile_once(lambda: minhash(read_roll(WARM_UP_MIDI, "warm-up.mid")[0]))  # worker processes inherit the compiled kernels
    release_compiler()
    worker = None
    while (chunk := receive_inputs(connection)) is not None:
        # Worker processes inherit the imported modules.
        if options.parser == "music21":
            import pianogen.midi.music21_reader
        if any(is_score(source.name) for source in chunk):
            import pianogen.midi.score_reader  # noqa: F401
        if worker is None:
            handle = os.open(shard, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            seek = functools.partial(Input.seek, index_folder=shard.parent)
            conversion = functools.partial(convert, options=options, index_folder=shard.parent)
            worker = WorkerProcess(handle, seek, conversion, limits)
        with suppress(BrokenPipeError):  # the rank has ended; the next receive_inputs returns None
            connection.send(_convert(worker, chunk, shard))
    # No fsync: a checksum shows whether a record is complete, and inputs whose records a power failure removes are
    # converted again.
    if worker is not None:
        os.close(handle)  # network file systems show the content to other nodes once the file is closed


def _convert(worker: WorkerProcess, chunk: Sequence[Input], shard: Path) -> ChunkResult | PianogenError:
    try:
        num_rejected, shard_bytes = worker.convert(chunk)
    except ShardError as error:
        return PianogenError(f"{shard} cannot be written: {error}; free some space and run the same command again")
    return ChunkResult(len(chunk), num_rejected, shard, shard_bytes)
