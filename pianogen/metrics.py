"""What a network must beat."""

import numpy as np
import tensorflow as tf

from pianogen.features import tempo_feature
from pianogen.roll import NUM_KEYS, PACKED_BYTES
from pianogen.windows import Windows

_BLOCK = 65_536


def constant_predictor_loss(windows: Windows) -> float:
    """Mean squared error of the best constant prediction of the rows that windows predict: the mean variance of a feature."""
    targets = np.concatenate(
        [
            first + windows.window_steps + np.arange(count) * windows.stride
            for first, count in zip(windows.first_row, windows.num_windows, strict=True)
        ]
    )
    ones = np.zeros(2 * NUM_KEYS)
    for start in range(0, len(targets), _BLOCK):
        rows = windows.rows.packed[targets[start : start + _BLOCK]]
        ones += np.unpackbits(rows, axis=1, count=8 * PACKED_BYTES).sum(axis=0)
    tempo = tempo_feature(tf.constant(windows.rows.tempo_us[targets].astype(np.int32))).numpy()
    share = ones / len(targets)
    variances = np.append(share * (1 - share), np.var(tempo))
    return float(variances.mean())
