"""The four sets of frames of Boulanger-Lewandowski, Bengio and Vincent 2012, as one store.

A set is a file SET.mat with the cell arrays traindata, validdata and testdata. Each cell is a sequence, (T, 88) zeros and ones: a
one is a key that sounds in a frame, and column 0 is A0, MIDI note 21.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from pianogen.errors import UsageError
from pianogen.roll import DEFAULT_TEMPO_US, NUM_KEYS, ONSET, STEPS_PER_QUARTER, Roll, equal_bars, pack
from pianogen.store import Pieces, Split, write_store

SETS = ("JSB_Chorales", "Nottingham", "Piano_midi", "MuseData")
_CELLS = {"traindata": Split.TRAIN, "validdata": Split.VALID, "testdata": Split.TEST}
# What SciPy raises for damaged files.
_DAMAGED = (IndexError, NameError, NotImplementedError, OSError, TypeError, ValueError, MatReadError, zlib.error)


class FramesError(UsageError):
    """A file of frames cannot be read, or it has another layout."""


class Sequence(NamedTuple):
    """A sequence of a set.

    Attributes:
        name: SET/CELLS/NUMBER, the number with four digits.
        group: SET.
        split: the published split.
        roll: one step per frame; every one is an onset, because frames do not tell a repeated note from a held one. The tempo is
            constant.
    """

    name: str
    group: str
    split: Split
    roll: Roll


def write_frames(folder: Path, store: Path) -> None:
    """Writes the four sets in a folder as one store: a piece for each sequence, a group for each set.

    Raises:
        FramesError: a file is missing, cannot be read, or has another layout.
    """
    sequences = [sequence for name in SETS for sequence in read_set(folder / f"{name}.mat")]
    sequences.sort(key=lambda sequence: sequence.name)
    rolls = [sequence.roll for sequence in sequences]
    pieces = Pieces(
        name=[sequence.name for sequence in sequences],
        group=[sequence.group for sequence in sequences],
        steps=np.array([len(roll) for roll in rolls], np.uint32),
        first_step=np.zeros(len(rolls), np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.array([sequence.split for sequence in sequences], np.uint8),
        sha256=[roll.sha256 for roll in rolls],
    )
    write_store(store, "corpus", pieces, rolls, {"source": "frames of Boulanger-Lewandowski, Bengio and Vincent 2012"})


def read_set(path: Path) -> Iterator[Sequence]:
    """The sequences of a set, in the order of the file.

    Raises:
        FramesError: the file is missing, cannot be read, or has another layout.
    """
    try:
        with path.open("rb") as file:
            content = loadmat(file, variable_names=list(_CELLS))
    except _DAMAGED as error:
        raise FramesError(
            f"{path} cannot be read as a .mat file: {error}; expected {', '.join(f'{name}.mat' for name in SETS)} in this folder"
        ) from error
    for key, split in _CELLS.items():
        if key not in content:
            raise FramesError(f"{path} has no variable {key}; expected {', '.join(_CELLS)}, as in the published file")
        for number, frames in enumerate(content[key].ravel()):
            where = f"{path}: sequence {number} of {key}"
            yield Sequence(f"{path.stem}/{key}/{number:04}", path.stem, split, _roll(frames, where))


def _roll(frames: np.ndarray, where: str) -> Roll:
    if frames.ndim != 2 or frames.shape[1] != NUM_KEYS or not len(frames):
        raise FramesError(f"{where} has shape {frames.shape}, expected (T, {NUM_KEYS}) with T of 1 or more")
    if not np.isin(frames, (0, 1)).all():
        raise FramesError(f"{where} has values other than 0 and 1")
    # Sequences are given without meter; their bars do not matter to the figures of the literature.
    tempo_us = np.full(len(frames), DEFAULT_TEMPO_US, np.uint32)
    return Roll(pack(frames * ONSET), tempo_us, equal_bars(len(frames), 4 * STEPS_PER_QUARTER))
