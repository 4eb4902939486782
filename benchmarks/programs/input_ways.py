"""What `benchmarks.input` measures, one thing in each process; each prints its figures as one JSON object."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.fresh import memory_mb
from pianogen.roll import PACKED_BYTES, Roll
from pianogen.store import Pieces, Split, Store, write_store

_MEASURED_S = 3.0
_KERAS_ROWS = 1_400_000  # of 177 float32: 1 GB
_POOLS = 4  # streamed to the end for the memory


def make(path: Path, num_steps: int) -> dict[str, Any]:
    """A store of generated pieces of 100 to 3,900 steps."""
    random = np.random.default_rng(0)
    steps = random.integers(100, 3_900, num_steps // 2_000).astype(np.uint32)
    # Rows of several pieces at a time, again and again: only their number matters, not what they hold.
    packed = random.integers(0, 256, (1 << 20, PACKED_BYTES), np.uint8) & random.integers(0, 256, (1 << 20, 1), np.uint8)
    tempo_us = np.full(4_000, 500_000, np.uint32)
    ends = np.cumsum(steps, dtype=np.int64)

    def rolls() -> Iterator[Roll]:
        for end, count in zip(ends.tolist(), steps.tolist(), strict=True):
            at = end % (len(packed) - 4_000)
            yield Roll(packed[at : at + count], tempo_us[:count])

    num = len(steps)
    pieces = Pieces(
        name=[f"{index:07d}.mid" for index in range(num)],
        group=[""] * num,
        steps=steps,
        first_step=np.zeros(num, np.uint32),
        notes=np.ones(num, np.uint32),
        split=np.full(num, Split.TRAIN, np.uint8),
        sha256=[f"{index:064x}" for index in range(num)],
    )
    write_store(path, "corpus", pieces, rolls(), {"version": "benchmark"})
    return {"steps": int(ends[-1])}


def stream(path: Path, window_steps: int, batch: int, transpose: int = 0) -> dict[str, Any]:
    """Windows a second of this stream."""
    from pianogen.config import DataConfig
    from pianogen.data.windows import find_windows, training_batches

    with Store(path) as store:
        found = find_windows(store, Split.TRAIN, DataConfig(window_steps=window_steps, transpose=transpose))
        return _speed(iter(training_batches(found, batch, 0)), batch)


def transposed(path: Path, window_steps: int, batch: int) -> dict[str, Any]:
    """The same, with each window moved by up to 6 semitones."""
    return stream(path, window_steps, batch, transpose=6)


def keras(path: Path, window_steps: int, batch: int) -> dict[str, Any]:
    """Windows a second of Keras's default: rows unpacked and scaled beforehand, the row after a window as its target."""
    import keras
    import tensorflow as tf

    from pianogen.models.features import features

    with Store(path) as store:
        rows = store.rows(0, min(_KERAS_ROWS, store.num_steps))
    unpacked = features(tf.constant(rows.packed), tf.constant(rows.tempo_us.astype(np.int32))).numpy()
    windows = keras.utils.timeseries_dataset_from_array(
        unpacked[:-1], unpacked[window_steps:], window_steps, batch_size=batch, shuffle=True, seed=0
    )
    return _speed(iter(windows.repeat()), batch)


def _speed(batches: Iterator[Any], batch: int) -> dict[str, Any]:
    for _ in range(20):
        next(batches)
    start, taken, count = time.perf_counter(), 0.0, 0
    while taken < _MEASURED_S:
        next(batches)
        count += batch
        taken = time.perf_counter() - start
    return {"windows_per_s": count / taken}


def memory(path: Path, limit_mb: int) -> dict[str, Any]:
    """The most resident memory while several pools are streamed, over that of the imports; and what resuming takes."""
    import tensorflow as tf

    from pianogen.config import DataConfig
    from pianogen.data.windows import find_windows, training_batches

    tf.range(1)  # what TensorFlow makes at its first operation is not the stream's
    import_mb = memory_mb("VmRSS")
    with Store(path) as store:
        opened_mb = memory_mb("VmRSS")
        found = find_windows(store, Split.TRAIN, DataConfig(memory_mb=limit_mb))
        num = round(_POOLS * len(found) * limit_mb / 2 * 1e6 / 26 / store.num_steps) // 256
        batches = iter(training_batches(found, 256, 0))
        next(batches)
        start = time.perf_counter()
        for _ in range(num):
            next(batches)
        taken = time.perf_counter() - start
        peak_mb = memory_mb("VmHWM")
        del batches
        start = time.perf_counter()
        next(iter(training_batches(found, 256, 0, first_batch=100 * len(found) // 256)))
        resume_s = time.perf_counter() - start
        return {
            "steps": store.num_steps,
            "pools": _POOLS,
            "opened_mb": opened_mb - import_mb,
            "peak_mb": peak_mb - import_mb,
            "windows_per_s": num * 256 / taken,
            "resume_s": resume_s,
        }


_WAYS = {way.__name__: way for way in (make, stream, transposed, keras, memory)}


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.programs.input_ways WAY STORE NUMBER...`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    way, path, *numbers = arguments
    print(json.dumps(_WAYS[way](Path(path), *map(int, numbers))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
