"""The measurements of `benchmarks.input`, one per process; each prints its figures as one JSON object."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.new_process import memory_mb
from pianogen.roll import PACKED_BYTES, ROW_BYTES, Roll, equal_bars
from pianogen.store import Pieces, Split, Store, write_store

_MEASURED_S = 3.0
_WARM_UP_BATCHES = 20
_KERAS_ROWS = 1_400_000  # of 177 float32 features: 1 GB
_POOLS = 4  # number of pools whose memory is measured
_BATCH = 256  # of the measurement of memory


def make(path: Path, num_steps: int) -> dict[str, Any]:
    """Writes a store of synthetic pieces of 100 to 3,900 steps."""
    random = np.random.default_rng(0)
    steps = random.integers(100, 3_900, num_steps // 2_000).astype(np.uint32)
    # Pieces share these rows: only the number of rows matters, not their content.
    packed = random.integers(0, 256, (1 << 20, PACKED_BYTES), np.uint8) & random.integers(0, 256, (1 << 20, 1), np.uint8)
    tempo_us, bar_position = np.full(4_000, 500_000, np.uint32), equal_bars(4_000, 16)
    ends = np.cumsum(steps, dtype=np.int64)

    def rolls() -> Iterator[Roll]:
        for end, length in zip(ends.tolist(), steps.tolist(), strict=True):
            start = end % (len(packed) - 4_000)
            yield Roll(packed[start : start + length], tempo_us[:length], bar_position[:length])

    num_pieces = len(steps)
    pieces = Pieces(
        name=[f"{index:07d}.mid" for index in range(num_pieces)],
        group=[""] * num_pieces,
        steps=steps,
        first_step=np.zeros(num_pieces, np.uint32),
        notes=np.ones(num_pieces, np.uint32),
        split=np.full(num_pieces, Split.TRAIN, np.uint8),
        sha256=[f"{index:064x}" for index in range(num_pieces)],
    )
    write_store(path, "corpus", pieces, rolls(), {"version": "benchmark"})
    return {"steps": int(ends[-1])}


def stream(path: Path, window_steps: int, batch: int, transpose: int = 0) -> dict[str, Any]:
    """Windows per second of the stream of this package."""
    from pianogen.config import DataConfig
    from pianogen.data.windows import find_windows, training_batches

    with Store(path) as store:
        windows = find_windows(store, Split.TRAIN, DataConfig(window_steps=window_steps, transpose=transpose))
        return _measure(iter(training_batches(windows, batch, seed=0)), batch)


def transposed(path: Path, window_steps: int, batch: int) -> dict[str, Any]:
    """Windows per second of the stream of this package, with each window transposed by up to 6 semitones."""
    return stream(path, window_steps, batch, transpose=6)


def keras(path: Path, window_steps: int, batch: int) -> dict[str, Any]:
    """Windows per second of the default of Keras, on features that are computed beforehand; the target is the next row."""
    import keras
    import tensorflow as tf

    from pianogen.models.features import features

    with Store(path) as store:
        rows = store.rows(0, min(_KERAS_ROWS, store.num_steps))
    unpacked = features(tf.constant(rows.packed), tf.constant(rows.tempo_us.astype(np.int32))).numpy()
    windows = keras.utils.timeseries_dataset_from_array(
        unpacked[:-1], unpacked[window_steps:], window_steps, batch_size=batch, shuffle=True, seed=0
    )
    return _measure(iter(windows.repeat()), batch)


def _measure(batches: Iterator[Any], batch: int) -> dict[str, Any]:
    for _ in range(_WARM_UP_BATCHES):
        next(batches)
    start, elapsed_s, num_windows = time.perf_counter(), 0.0, 0
    while elapsed_s < _MEASURED_S:
        next(batches)
        num_windows += batch
        elapsed_s = time.perf_counter() - start
    return {"windows_per_s": num_windows / elapsed_s}


def memory(path: Path, limit_mb: int) -> dict[str, Any]:
    """Peak resident memory above that of the imports while several pools are streamed, and the time of resuming a stream."""
    import tensorflow as tf

    from pianogen.config import DataConfig
    from pianogen.data.windows import find_windows, training_batches

    tf.range(1)  # the memory that TensorFlow allocates at its first operation does not belong to the stream
    import_mb = memory_mb("VmRSS")
    with Store(path) as store:
        opened_mb = memory_mb("VmRSS")
        windows = find_windows(store, Split.TRAIN, DataConfig(memory_mb=limit_mb))
        num_batches = round(_POOLS * len(windows) * limit_mb / 2 * 1e6 / ROW_BYTES / store.num_steps) // _BATCH
        batches = iter(training_batches(windows, _BATCH, seed=0))
        next(batches)
        start = time.perf_counter()
        for _ in range(num_batches):
            next(batches)
        elapsed_s = time.perf_counter() - start
        peak_mb = memory_mb("VmHWM")
        del batches
        start = time.perf_counter()
        next(iter(training_batches(windows, _BATCH, seed=0, first_batch=100 * len(windows) // _BATCH)))
        resume_s = time.perf_counter() - start
        return {
            "steps": store.num_steps,
            "pools": _POOLS,
            "opened_mb": opened_mb - import_mb,
            "peak_mb": peak_mb - import_mb,
            "windows_per_s": num_batches * _BATCH / elapsed_s,
            "resume_s": resume_s,
        }


_MEASUREMENTS = {measurement.__name__: measurement for measurement in (make, stream, transposed, keras, memory)}


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.programs.input_measurements MEASUREMENT STORE NUMBER...`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    measurement, path, *numbers = arguments
    print(json.dumps(_MEASUREMENTS[measurement](Path(path), *map(int, numbers))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
