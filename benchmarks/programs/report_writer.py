"""The 2021 report's method of writing MIDI: one thread and one music21 stream per key, and one file of all streams.

A thread scans the column of its key; a note lasts from its onset over the holds that follow. The 2021 report does not describe
how tempos were written, so this code writes none, which favors the 2021 report.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from music21.note import Note
from music21.pitch import Pitch
from music21.stream import Part, Score

from pianogen.roll import HOLD, LOWEST_KEY, NUM_KEYS, ONSET, STEPS_PER_QUARTER, Roll


def write_midi(roll: Roll) -> bytes:
    """The MIDI file of a roll, with one part per key."""
    with ThreadPoolExecutor(NUM_KEYS) as threads:
        parts = threads.map(partial(_make_part, roll.states), range(NUM_KEYS))
        score = Score([part for part in parts if len(part)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.mid")
        score.write("midi", fp=path)  # type: ignore[no-untyped-call]
        return path.read_bytes()


def _make_part(states: np.ndarray, key: int) -> Part:
    """The music21 stream of one key.

    Args:
        states: (T, 88).
    """
    column = states[:, key].tolist()
    pitch = Pitch(key + LOWEST_KEY).nameWithOctave
    part = Part()  # type: ignore[no-untyped-call]
    for step, state in enumerate(column):
        if state != ONSET:
            continue
        end = step + 1
        while end < len(column) and column[end] == HOLD:
            end += 1
        part.insert(step / STEPS_PER_QUARTER, Note(pitch, quarterLength=(end - step) / STEPS_PER_QUARTER))
    return part
