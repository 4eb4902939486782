"""The input of the joint model for each row that it predicts, computed from windows on the device."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pianogen.models.features import unpack_rows
from pianogen.roll import DEFAULT_TEMPO_US, HOLD, NUM_KEYS, ONSET
from pianogen.window import PROFILE_DECAYS, Context, Window

LONGEST = 255  # steps; longer times are not distinguished
PITCH_CLASSES = 12


class Rows(NamedTuple):
    """The state of the piece before each of T rows.

    Attributes:
        before: (T, B, 88) uint8 states of the row before.
        since_onset: (T, B, 88) float32 steps since the last onset of each key, 1..255.
        duration: (T, B, 88) float32 steps for which each key has sounded, 0..255.
        profile: (T, B, D, 12) float32 decayed onsets by pitch class, see `pianogen.window.Context`.
        match: (T, B, 88) uint8 states of the row that followed the longest match.
        match_steps: (T, B) int32 length of that match.
        match_distance: (T, B) int32 steps from the row that followed the match.
        step: (T, B) int32 step of the row in its piece.
        bar_position: (T, B) int32 steps of the row since the last bar line.
        bar: (T, B) int32 number of the bar of the row in its piece; -1 before the first bar line.
        tempo_us: (T, B) int32 tempo of the row before; 120 bpm before the first row of a piece.
        semitones: (B,) int32 transposition.
    """

    before: tf.Tensor
    since_onset: tf.Tensor
    duration: tf.Tensor
    profile: tf.Tensor
    match: tf.Tensor
    match_steps: tf.Tensor
    match_distance: tf.Tensor
    step: tf.Tensor
    bar_position: tf.Tensor
    bar: tf.Tensor
    tempo_us: tf.Tensor
    semitones: tf.Tensor


def rows_of(window: Window) -> Rows:
    """The rows that a window predicts.

    Raises:
        ValueError: the window has no context.
    """
    context = window.context
    if not isinstance(context, Context):
        raise ValueError("the joint model reads the context of windows, and this window has none")
    before = _time_first(unpack_rows(window.packed[:, :-1]))
    step = context.step + tf.range(before.shape[0])[:, tf.newaxis]
    bar_position = tf.cast(_time_first(window.bar_position[:, 1:]), tf.int32)
    return Rows(
        before=before,
        since_onset=_since(before == ONSET, 1 - tf.cast(context.since_onset, tf.float32)),
        duration=_duration(before, tf.cast(context.duration, tf.float32)),
        profile=_profile(before, context.profile),
        match=_time_first(unpack_rows(context.match)),
        match_steps=_time_first(context.match_steps),
        match_distance=_time_first(context.match_distance),
        step=step,
        bar_position=bar_position,
        bar=context.bars - 1 + tf.cumsum(tf.cast(bar_position == 0, tf.int32)),
        tempo_us=tf.where(step > 0, _time_first(window.tempo_us[:, :-1]), DEFAULT_TEMPO_US),
        semitones=context.semitones,
    )


def octaves(tempo_us: tf.Tensor) -> tf.Tensor:
    """float32 octaves by which tempos are faster than 120 bpm."""
    return tf.math.log(DEFAULT_TEMPO_US / tf.cast(tempo_us, tf.float32)) / math.log(2)


def count_pitch_classes(onset: tf.Tensor) -> tf.Tensor:
    """(…, 12) float32 number of onsets by pitch class, of (…, 88) bool; A is 0."""
    num_octaves = -(-NUM_KEYS // PITCH_CLASSES)
    paddings = [[0, 0]] * (onset.shape.rank - 1) + [[0, num_octaves * PITCH_CLASSES - NUM_KEYS]]
    padded = tf.pad(tf.cast(onset, tf.float32), paddings)
    shape = tf.concat([tf.shape(onset)[:-1], [num_octaves, PITCH_CLASSES]], axis=0)
    return tf.reduce_sum(tf.reshape(padded, shape), axis=-2)


def profile_factors() -> np.ndarray:
    """(D, 1) float32 factors by which a profile decays in a step."""
    return np.exp(-1 / np.array(PROFILE_DECAYS, np.float32))[:, np.newaxis]


def _time_first(tensor: tf.Tensor) -> tf.Tensor:
    """(B, T, …) to (T, B, …)."""
    return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])


def _since(event: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """(T, B, 88) float32 steps since the last event, at most LONGEST.

    Args:
        event: (T, B, 88) bool; [t] is an event one step before row t.
        last: (B, 88) float32 time of the last event up to [0], on the scale on which [t] has the time t.
    """
    times = tf.range(event.shape[0], dtype=tf.float32)[:, tf.newaxis, tf.newaxis]
    latest = tf.concat([last[tf.newaxis], tf.where(event, times, -float(LONGEST))[1:]], axis=0)
    reach = 1
    while reach < event.shape[0]:  # a running maximum: each round doubles the number of rows that it covers
        latest = tf.concat([latest[:reach], tf.maximum(latest[reach:], latest[:-reach])], axis=0)
        reach *= 2
    return tf.minimum(times + 1 - latest, LONGEST)


def _duration(before: tf.Tensor, duration: tf.Tensor) -> tf.Tensor:
    """(T, B, 88) float32 steps for which keys have sounded: the steps since an onset or, of a silent key, 0."""
    since = _since(before != HOLD, 1 - duration)
    return tf.where(before > 0, since, 0.0)


def _profile(before: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
    """(T, B, D, 12) decayed onsets of rows before row t, from those before row 0."""
    num_rows = before.shape[0]
    age = np.arange(num_rows)[:, np.newaxis] - np.arange(num_rows)  # of row r, seen from row t
    factors = profile_factors()
    weights = np.where((age >= 0) & (np.arange(num_rows) > 0), factors[..., np.newaxis] ** np.maximum(age, 0), 0.0)
    decayed = tf.einsum("dtr,rbp->tbdp", weights.astype(np.float32), count_pitch_classes(before == ONSET))
    start = factors ** np.arange(num_rows, dtype=np.float32)[:, np.newaxis, np.newaxis]
    return decayed + start[:, np.newaxis] * profile
