"""The outcomes of an input that contains several pieces, and of a piece that is too far from the start of its file."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pianogen.midi.events import Events
from pianogen.midi.options import ReadOptions
from pianogen.midi.rejection import Reason
from pianogen.midi.smf import scan
from preprocess import outcome
from preprocess.inputs import Input
from tests.support.made_corpus import DRUMS, made_midi

GAP = b"\xff\xff\xff\x7f"  # 2**28 - 1 ticks


def converted(folder: Path, name: str, data: bytes) -> Sequence[outcome.Outcome]:
    (folder / name).write_bytes(data)
    return outcome.convert(Input(name, str(folder / name), len(data), 0), ReadOptions(), folder)


def test_rejected_tune_leaves_the_other_tunes_of_a_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tunes(*_: object) -> list[Events]:
        return [scan(data).events for data in (made_midi(1), DRUMS, made_midi(2))]

    monkeypatch.setattr("pianogen.midi.score_reader.read_score", tunes)
    first, second, third = converted(tmp_path, "tunes.abc", b"X:1")
    assert (second.reason, second.roll, second.minhash) == (Reason.NO_NOTES, None, None)
    assert second.message
    assert len({first.sha256, second.sha256, third.sha256}) == 1
    for piece in (first, third):
        assert piece.reason is None
        assert piece.roll is not None
        assert piece.minhash is not None


def test_first_step_that_the_store_cannot_hold_is_a_rejection(tmp_path: Path) -> None:
    rests = b"".join(GAP + b"\xff\x01\x00" for _ in range(20))
    track = rests + b"\0\x90\x3c\x40\x60\x3c\0\0\xff\x2f\0"
    one_tick_per_quarter = made_midi(0)[:12] + b"\0\x01"
    (piece,) = converted(tmp_path, "late.mid", one_tick_per_quarter + b"MTrk" + len(track).to_bytes(4, "big") + track)
    assert piece.reason is Reason.TOO_LONG
    assert piece.message == "the first note is at step 21,474,836,400; at most 4,294,967,295 is supported"
