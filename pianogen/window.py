"""A batch of windows: what the data streams and the networks read.

Shapes: B batch, W rows that are predicted, K = 88 keys. A window has W + 1 rows: row i is read before row i + 1 is predicted. The
row before the first row of a piece is silence at 120 bpm, the tempo of MIDI before the first tempo event; its bar position is 0.
"""

from typing import NamedTuple

from tensorflow import Tensor

PROFILE_DECAYS = (16.0, 64.0, 256.0)  # in steps: a bar, a phrase of four bars and a section of 16 bars in 4/4


class Context(NamedTuple):
    """What the earlier rows of the piece add to a window. All of it is known before the rows that are predicted.

    Attributes:
        step: (B,) int32 step of the first predicted row in its piece.
        bars: (B,) int32 number of bar lines in the rows of the piece before the first predicted one.
        semitones: (B,) int32 transposition of the window, of everything in it.
        match: (B, W, 22) uint8 packed row that followed the longest match, silence if there is none. The match is the earlier
            step of the piece before which the most rows equal those before the predicted row; the latest one, if several are.
        match_steps: (B, W) int32 number of equal rows of that match, 0 if there is none.
        match_distance: (B, W) int32 steps from the row that followed the match to the predicted row, 0 if there is none.
        since_onset: (B, 88) uint8 steps from the last onset of each key before the first predicted row; 1 is the row before it,
            255 is 255 steps or more, or no onset.
        duration: (B, 88) uint8 steps for which the note of each key has sounded up to the row before the first predicted row, at
            most 255; 1 if its onset is in that row, 0 if the key is silent there.
        profile: (B, D, 12) float32 onsets before the first predicted row by pitch class, A is 0 and D the number of
            PROFILE_DECAYS: an onset in the row before counts 1, one that is n rows earlier exp(-n / decay).
    """

    step: Tensor
    bars: Tensor
    semitones: Tensor
    match: Tensor
    match_steps: Tensor
    match_distance: Tensor
    since_onset: Tensor
    duration: Tensor
    profile: Tensor


class Window(NamedTuple):
    """A batch of windows.

    Attributes:
        packed: (B, W + 1, 22) uint8 rows.
        tempo_us: (B, W + 1) int32 tempo of each row.
        bar_position: (B, W + 1) uint8 steps of each row since the last bar line.
        context: empty for networks that do not read it, to save the time to compute it.
    """

    packed: Tensor
    tempo_us: Tensor
    bar_position: Tensor
    context: Context | tuple[()] = ()
