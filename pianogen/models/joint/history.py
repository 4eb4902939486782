"""The rows that the joint model has read one by one, and the features of the next row that follow from them.

The context of a window has the same values.
"""

from typing import NamedTuple

import tensorflow as tf

from pianogen.models.features import unpack_rows
from pianogen.models.joint.rows import LONGEST, PITCH_CLASSES, Rows, count_pitch_classes, profile_factors
from pianogen.roll import DEFAULT_TEMPO_US, HOLD, NUM_KEYS, ONSET, PACKED_BYTES
from pianogen.window import PROFILE_DECAYS


class History(NamedTuple):
    """The history of B pieces of at most N rows.

    Attributes:
        packed: (B, N, 22) uint8 rows.
        match_steps: (B, N) int32; [j] is the number of rows up to row j that equal those up to the last row.
        since_onset, duration: (B, 88) float32 and profile: (B, D, 12) float32 of the next row, see `Rows`.
        step: () int32 step of the next row; -1 until the row of silence before the first row was read.
        bar: (B,) int32 number of the bar of the next row, see `Rows`.
    """

    packed: tf.Tensor
    match_steps: tf.Tensor
    since_onset: tf.Tensor
    duration: tf.Tensor
    profile: tf.Tensor
    step: tf.Tensor
    bar: tf.Tensor


def empty(batch: int, num_steps: int) -> History:
    """The history before the row of silence that precedes a piece."""
    return History(
        packed=tf.zeros([batch, num_steps, PACKED_BYTES], tf.uint8),
        match_steps=tf.zeros([batch, num_steps], tf.int32),
        since_onset=tf.fill([batch, NUM_KEYS], float(LONGEST)),
        duration=tf.zeros([batch, NUM_KEYS]),
        profile=tf.zeros([batch, len(PROFILE_DECAYS), PITCH_CLASSES]),
        step=tf.constant(-1),
        bar=tf.fill([batch], -1),
    )


def read(history: History, packed: tf.Tensor, tempo_us: tf.Tensor, bar_position: tf.Tensor) -> tuple[History, Rows]:
    """Reads a row, and computes the input for the next one.

    Args:
        packed: (B, 22) uint8.
        tempo_us: (B,) int32.
        bar_position: (B,) int32 of the next row.

    Returns:
        The history, and `Rows` of T = 1.
    """
    states = unpack_rows(packed)
    num_steps = history.packed.shape[1]
    onset, index = states == ONSET, tf.range(num_steps)
    rows = tf.where((index == history.step)[:, tf.newaxis], packed[:, tf.newaxis], history.packed)
    is_equal = tf.reduce_all(rows == packed[:, tf.newaxis], axis=-1) & (index < history.step)
    match_steps = tf.where(is_equal, tf.pad(history.match_steps[:, :-1], [[0, 0], [1, 0]]) + 1, 0)
    longest = tf.reduce_max(match_steps, axis=-1)
    # Of equally long matches, the latest one.
    match = tf.reduce_max(tf.where(match_steps == longest[:, tf.newaxis], index, -1), axis=-1) + 1
    followed = tf.gather(rows, tf.minimum(match, num_steps - 1), batch_dims=1)
    history = History(
        packed=rows,
        match_steps=match_steps,
        since_onset=tf.where(onset, 1.0, tf.minimum(history.since_onset + 1, LONGEST)),
        duration=tf.where(onset, 1.0, tf.where(states == HOLD, tf.minimum(history.duration + 1, LONGEST), 0.0)),
        profile=history.profile * profile_factors() + count_pitch_classes(onset)[:, tf.newaxis],
        step=history.step + 1,
        bar=history.bar + tf.cast(bar_position == 0, tf.int32),
    )
    step = tf.fill(tf.shape(tempo_us), history.step)[tf.newaxis]
    return history, Rows(
        before=states[tf.newaxis],
        since_onset=history.since_onset[tf.newaxis],
        duration=history.duration[tf.newaxis],
        profile=history.profile[tf.newaxis],
        match=unpack_rows(tf.where((longest > 0)[:, tf.newaxis], followed, 0))[tf.newaxis],
        match_steps=longest[tf.newaxis],
        match_distance=tf.where(longest > 0, history.step - match, 0)[tf.newaxis],
        step=step,
        bar_position=bar_position[tf.newaxis],
        bar=history.bar[tf.newaxis],
        tempo_us=tf.where(step > 0, tempo_us[tf.newaxis], DEFAULT_TEMPO_US),
        semitones=tf.zeros_like(tempo_us),
    )
