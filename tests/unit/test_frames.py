"""The conversion of the four sets of frames to a store."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import nll
from benchmarks.support.frames import SETS, FramesError, read_set, write_frames
from pianogen import command
from pianogen.roll import DEFAULT_TEMPO_US, ONSET
from pianogen.store import Split, Store
from tests.support.made_frames import CELLS, made_frames, write_mat, write_sets


def test_every_sequence_is_a_piece_of_its_set_in_its_published_split(tmp_path: Path) -> None:
    write_sets(tmp_path / "data")
    write_frames(tmp_path / "data", tmp_path / "frames.h5")
    with Store(tmp_path / "frames.h5") as store:
        pieces = store.pieces
        store.verify()
    assert pieces.name == sorted(f"{name}/{cell}/{number:04}" for name in SETS for cell in CELLS for number in (0, 1))
    assert pieces.group == [name.split("/")[0] for name in pieces.name]
    split = {"traindata": Split.TRAIN, "validdata": Split.VALID, "testdata": Split.TEST}
    assert pieces.split.tolist() == [split[name.split("/")[1]] for name in pieces.name]
    assert pieces.steps.tolist() == [40, 20] * 12
    assert not pieces.first_step.any()


def test_every_one_is_an_onset_of_the_key_of_its_column_at_a_constant_tempo(tmp_path: Path) -> None:
    frames = made_frames(seed=7, num_frames=25)
    frames[0], frames[3:5], frames[8, [0, 87]] = 0, frames[3], 1  # silence, a repeated frame, the lowest and the highest key
    write_mat(tmp_path / "JSB_Chorales.mat", {cell: [frames] for cell in CELLS})
    for sequence in read_set(tmp_path / "JSB_Chorales.mat"):
        assert np.array_equal(sequence.roll.states, frames * ONSET)
        assert sequence.roll.tempo_us.tolist() == [DEFAULT_TEMPO_US] * 25
        assert sequence.roll.first_step == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "cannot be read as a .mat file"),
        (b"MATLAB 5.0 MAT-file" + bytes(9), "cannot be read as a .mat file"),
        ({"traindata": [made_frames(0, 9)]}, "has no variable validdata; expected traindata, validdata, testdata"),
        ({cell: [made_frames(0, 9)[:, :87]] for cell in CELLS}, "sequence 0 of traindata has shape (9, 87), expected (T, 88)"),
        ({cell: [made_frames(0, 9), 2 * made_frames(0, 9)] for cell in CELLS}, "sequence 1 of traindata has values other than"),
    ],
)
def test_unreadable_set_is_an_error_that_names_the_file_and_the_problem(
    tmp_path: Path, content: bytes | dict[str, list[np.ndarray]] | None, message: str
) -> None:
    path = tmp_path / "Nottingham.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write_mat(path, content)
    with pytest.raises(FramesError) as caught:
        list(read_set(path))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_missing_set_ends_the_benchmark_with_exit_code_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_sets(tmp_path / "data")
    (tmp_path / "data" / "MuseData.mat").unlink()
    assert command.run(nll.main, [str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 2
    assert "MuseData.mat" in capfd.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()
