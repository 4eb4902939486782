"""How the report turned rolls back into MIDI: a thread for each key, a music21 stream from each, all of them in one file.

Its threads walk down their column; a note goes from its start over the holds behind it. It says nothing of the tempo, so
there is none here, which saves it time.
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
    """The MIDI file of a roll, as if each key were a piano of its own."""
    with ThreadPoolExecutor(NUM_KEYS) as threads:
        parts = threads.map(partial(_make_part, roll.states), range(NUM_KEYS))
        score = Score([part for part in parts if len(part)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.mid")
        score.write("midi", fp=path)  # type: ignore[no-untyped-call]
        return path.read_bytes()


def _make_part(states: np.ndarray, key: int) -> Part:
    """The stream of one key; `states` is (T, 88)."""
    column = states[:, key].tolist()
    name = Pitch(key + LOWEST_KEY).nameWithOctave
    part = Part()  # type: ignore[no-untyped-call]
    for step, state in enumerate(column):
        if state != ONSET:
            continue
        end = step + 1
        while end < len(column) and column[end] == HOLD:
            end += 1
        part.insert(step / STEPS_PER_QUARTER, Note(name, quarterLength=(end - step) / STEPS_PER_QUARTER))
    return part
