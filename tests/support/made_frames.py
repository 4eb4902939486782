"""Generated sets of frames in the layout of Boulanger-Lewandowski et al. 2012."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from benchmarks.support.frames import SETS
from pianogen.roll import NUM_KEYS

CELLS = ("traindata", "validdata", "testdata")


def made_frames(seed: int, num_frames: int) -> np.ndarray:
    """(T, 88) uint8 random zeros and ones between the keys 20 and 30."""
    frames = np.zeros((num_frames, NUM_KEYS), np.uint8)
    frames[:, 20:30] = np.random.default_rng(seed).random((num_frames, 10)) < 0.3
    return frames


def write_mat(path: Path, cells: dict[str, list[np.ndarray]]) -> None:
    """Writes cell arrays of sequences."""
    arrays = {}
    for name, sequences in cells.items():
        arrays[name] = np.empty((1, len(sequences)), object)
        arrays[name][0] = sequences
    savemat(path, arrays)


def write_sets(folder: Path, num_frames: int = 40) -> None:
    """Writes the four sets, each with two sequences in every split; the second one is half as long."""
    folder.mkdir()
    for index, name in enumerate(SETS):
        cells = {cell: [made_frames(index, num_frames), made_frames(index, num_frames // 2)] for cell in CELLS}
        write_mat(folder / f"{name}.mat", cells)
