"""Features of the joint model: of each key, its neighbors and the step, from the state of the piece before the row."""

import numpy as np
import tensorflow as tf

from pianogen.models.joint.rows import PITCH_CLASSES, Rows, count_pitch_classes, octaves
from pianogen.roll import HOLD, ONSET
from pianogen.window import PROFILE_DECAYS

_BAR_QUARTERS, _PHRASE_BARS = 6, 4
_MOST_COUNTED = 5  # sounding keys below or above
_DISTANCE_OCTAVES = 11  # no match; 1, 2..3, 4..7, ... steps; 512 steps and more
# Brings the expected number of decayed onsets to the order of 1.
_PROFILE_SCALES = 4 / np.array(PROFILE_DECAYS, np.float32)[:, np.newaxis]


def use_keys(tensor: tf.Tensor, keys: range) -> tf.Tensor:
    """(…, 88) to (…, K)."""
    return tensor[..., keys.start : keys.stop]


def key_channels(rows: Rows, keys: range, *, copy: bool) -> tf.Tensor:
    """(T, B, K, C) float32: onset, hold, duration and time since the onset of each key, and onset and hold of the copy."""
    before = use_keys(rows.before, keys)
    channels = [
        tf.cast(before == ONSET, tf.float32),
        tf.cast(before == HOLD, tf.float32),
        tf.math.log1p(use_keys(rows.duration, keys)) / 4,
        tf.exp(use_keys(rows.since_onset, keys) / -8),
    ]
    if copy:
        match = use_keys(rows.match, keys)
        channels += [tf.cast(match == ONSET, tf.float32), tf.cast(match == HOLD, tf.float32)]
    return tf.stack(channels, axis=-1)


def own_features(rows: Rows, keys: range) -> tf.Tensor:
    """(T, B, K, 13) float32 of each key: the number of sounding keys below and above, and the time since its onset."""
    sounding = tf.cast(use_keys(rows.before, keys) > 0, tf.float32)
    below = tf.cumsum(sounding, axis=-1, exclusive=True)
    above = tf.reduce_sum(sounding, axis=-1, keepdims=True) - below - sounding
    since = tf.math.log1p(use_keys(rows.since_onset, keys)) / 5
    return tf.concat([*(one_hot_count(count, _MOST_COUNTED) for count in (below, above)), since[..., tf.newaxis]], axis=-1)


def pitch_class_features(rows: Rows) -> tf.Tensor:
    """(T, B, (1 + D) * 12) float32: sounding keys by pitch class, and decayed onsets by pitch class."""
    sounding = count_pitch_classes(rows.before > 0) / 2
    shape = tf.shape(sounding)
    profile = tf.reshape(rows.profile * _PROFILE_SCALES, [shape[0], shape[1], len(PROFILE_DECAYS) * PITCH_CLASSES])
    return tf.concat([sounding, profile], axis=-1)


def meter_features(rows: Rows, steps_per_quarter: int) -> tf.Tensor:
    """(T, B, 7 * steps_per_quarter) float32: the position in the first six quarter notes of the bar, and in its quarter note."""
    in_bar = tf.one_hot(rows.bar_position, _BAR_QUARTERS * steps_per_quarter)
    return tf.concat([in_bar, tf.one_hot(rows.bar_position % steps_per_quarter, steps_per_quarter)], axis=-1)


def step_features(rows: Rows, steps_per_quarter: int, *, copy: bool) -> tf.Tensor:
    """(T, B, G) float32 of each row: its place in the meter, how many keys sounded, the match, the tempo."""
    num_sounding = tf.reduce_sum(tf.cast(rows.before > 0, tf.float32), axis=-1)
    num_onsets = tf.reduce_sum(tf.cast(rows.before == ONSET, tf.float32), axis=-1)
    numbers = [
        tf.cast(rows.step == 0, tf.float32),
        tf.math.log1p(tf.reduce_min(rows.since_onset, axis=-1)) / 5,
        octaves(rows.tempo_us) / 2,
    ]
    if copy:
        length = tf.cast(rows.match_steps, tf.float32)
        numbers += [tf.minimum(length, 1.0), tf.minimum(length, 32.0) / 32, tf.math.log1p(length) / 4]
    distances = [tf.one_hot(_octave(rows.match_distance), _DISTANCE_OCTAVES)] if copy else []
    return tf.concat(
        [
            *distances,
            meter_features(rows, steps_per_quarter),
            tf.one_hot(rows.bar % _PHRASE_BARS, _PHRASE_BARS),
            one_hot_count(num_sounding, 8),
            one_hot_count(num_onsets, 6),
            tf.stack(numbers, axis=-1),
        ],
        axis=-1,
    )


def _octave(distance: tf.Tensor) -> tf.Tensor:
    """int32: 0 for a distance of 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7, and so on."""
    return tf.reduce_sum(tf.cast(distance[..., tf.newaxis] >= 2 ** np.arange(_DISTANCE_OCTAVES - 1), tf.int32), axis=-1)


def one_hot_count(count: tf.Tensor, most: int) -> tf.Tensor:
    """(…, most + 1) float32 of (…) counts; larger counts are that of `most`."""
    return tf.one_hot(tf.cast(tf.minimum(count, float(most)), tf.int32), most + 1)
