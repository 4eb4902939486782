"""The phases of `benchmarks.scale`; every phase runs in its own process.

    python -m benchmarks.programs.scale_phases open corpus.h5

A phase imports only the modules that it measures, and prints a JSON object.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.support.new_process import forget_cached, memory_mb

_PIECES_PER_FOLDER = 1_000
_NUM_SHARDS = 8  # those of eight ranks
_CHUNK = 256
_BLOCK_BYTES = 16 << 20
_SIMILARITIES = (0.0, 0.02, 0.05, 0.1, 0.3, 0.6, 0.9, 1.0)  # of a piece and the preceding one


def _name(index: int) -> str:
    """A name of typical length in a large corpus."""
    return f"composer-{index // _PIECES_PER_FOLDER:05}/opus-{index:09}-allegro.mid"


def make_tree(root: Path, num_pieces: int) -> dict[str, Any]:
    """Writes tiny files with the names of the pieces; scanning does not read files."""
    for index in range(num_pieces):
        path = root / _name(index)
        if index % _PIECES_PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
            path.write_bytes(b"MThd")
            first = path
        else:
            os.link(first, path)
    return {}


def scan(tree: Path) -> dict[str, Any]:
    """Scans the files for inputs."""
    from preprocess import sources
    from preprocess.unread import Unread

    before_mb = memory_mb("VmRSS")
    start = time.perf_counter()
    inputs = sources.scan([str(tree)], tree.parent, Unread())
    return {"s": time.perf_counter() - start, "inputs": len(inputs), "import_mb": before_mb, "peak_mb": memory_mb("VmHWM")}


def make_shards(folder: Path, num_pieces: int, mean_steps: int) -> dict[str, Any]:
    """Writes shards of different random rolls, of half to one and a half times the mean length."""
    import numpy as np

    from pianogen.midi.counts import Counts
    from pianogen.midi.signature import NUM_BINS, MinHash
    from pianogen.roll import PACKED_BYTES, Roll, equal_bars
    from preprocess import shard
    from preprocess.outcome import Outcome

    random = np.random.default_rng(0)
    lengths = random.integers(mean_steps - mean_steps // 2, mean_steps + mean_steps // 2, num_pieces, endpoint=True)
    # As dense as piano-midi.de: about two bytes of a row are not zero, and a tempo lasts for three steps.
    rows = random.integers(0, 256, (2 * mean_steps + _CHUNK, PACKED_BYTES), np.uint8)
    rows[random.random(rows.shape) > 2 / PACKED_BYTES] = 0
    tempo_us = np.repeat(random.integers(300_000, 900_000, mean_steps, np.uint32), 3)
    signature = random.integers(0, 256, NUM_BINS, np.uint8)
    folder.mkdir()
    handles = [os.open(folder / f"shard-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666) for rank in range(_NUM_SHARDS)]
    for index, length in enumerate(lengths.tolist()):
        begin = index % _CHUNK
        packed = rows[begin : begin + length].copy()
        packed[0, :8] = np.frombuffer(index.to_bytes(8, "big"), np.uint8)  # makes every roll different
        # A copy of the preceding piece in which some bytes are others, which makes it as similar as pieces of real corpora.
        is_copied = random.random(NUM_BINS) < _SIMILARITIES[index % len(_SIMILARITIES)]
        signature = np.where(is_copied, signature, random.integers(0, 256, NUM_BINS, np.uint8))
        outcome = Outcome(
            hashlib.sha256(packed[0].tobytes()).hexdigest(),
            counts=Counts(4 * length, 0, 0, 0, 0, 3, 0, 2, 2, 0),
            roll=Roll(packed, tempo_us[:length], equal_bars(length, 16)),
            minhash=MinHash(int(random.integers(1 << 63)), signature.tobytes()),
        )
        shard.append(handles[index // _CHUNK % _NUM_SHARDS], index, [outcome])
    for handle in handles:
        os.fsync(handle)
        os.close(handle)
    return {"steps": int(lengths.sum()), "bytes": sum(path.stat().st_size for path in folder.iterdir())}


def merge(tree: Path, folder: Path, store: Path) -> dict[str, Any]:
    """Merges the shards as rank 0 does: files to inputs, shards to columns, columns to ledger and store."""
    import numpy as np

    import preprocess.__main__  # noqa: F401 - the complete program, for the memory of rank 0
    from preprocess import sources
    from preprocess.merge import MergeOptions
    from preprocess.merge import merge as merge_table
    from preprocess.near_duplicates import find_similar
    from preprocess.shard_reader import ShardReader
    from preprocess.unread import Unread

    for path in folder.iterdir():
        forget_cached(path)
    before_mb = memory_mb("VmRSS")
    inputs = sources.scan([str(tree)], tree.parent, Unread())
    start = time.perf_counter()
    reader = ShardReader(folder, inputs)
    reader.wait_for_all()
    records_s = time.perf_counter() - start
    records_mb = memory_mb("VmHWM")
    begin = time.perf_counter()
    find_similar(reader.table.signatures, np.arange(len(inputs)))  # measured on its own; the merge does it too
    search_s = time.perf_counter() - begin
    begin = time.perf_counter()
    result = merge_table(reader.table, reader.paths, store, store.with_suffix(".ledger.csv"), MergeOptions(), {})
    return {
        "kept": result.num_kept,
        "near_duplicates": result.num_similar,
        "records_s": records_s,
        "search_s": search_s,
        "write_s": time.perf_counter() - begin,
        "bytes": store.stat().st_size,
        "import_mb": before_mb,
        "records_mb": records_mb,
        "peak_mb": memory_mb("VmHWM"),
    }


def read_raw(folder: Path) -> dict[str, Any]:
    """Reads the shards from the disk, in order and in large blocks."""
    paths = sorted(folder.iterdir())
    for path in paths:
        forget_cached(path)
    start = time.perf_counter()
    num_bytes = sum(len(block) for path in paths for block in _blocks(path))
    return {"s": time.perf_counter() - start, "bytes": num_bytes}


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def write_raw(path: Path, num_bytes: int) -> dict[str, Any]:
    """Writes a file of this size in large blocks, with an fsync."""
    block = memoryview(os.urandom(_BLOCK_BYTES))
    start = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        num_remaining = num_bytes
        while num_remaining:
            num_remaining -= file.write(block[:num_remaining])
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return {"s": seconds, "bytes": num_bytes}


def open_store(path: Path) -> dict[str, Any]:
    """Opens a store, as training does."""
    from pianogen.store import Store

    forget_cached(path)
    before_mb = memory_mb("VmRSS")
    start = time.perf_counter()
    with Store(path) as store:
        seconds = time.perf_counter() - start
        return {"s": seconds, "pieces": len(store.pieces), "import_mb": before_mb, "peak_mb": memory_mb("VmHWM")}


_PHASES: dict[str, tuple[Callable[..., dict[str, Any]], tuple[Callable[[str], Any], ...]]] = {
    "make_tree": (make_tree, (Path, int)),
    "scan": (scan, (Path,)),
    "make_shards": (make_shards, (Path, int, int)),
    "merge": (merge, (Path, Path, Path)),
    "read_raw": (read_raw, (Path,)),
    "write_raw": (write_raw, (Path, int)),
    "open": (open_store, (Path,)),
}


if __name__ == "__main__":
    phase, types = _PHASES[sys.argv[1]]
    print(json.dumps(phase(*(read(text) for read, text in zip(types, sys.argv[2:], strict=True)))))
