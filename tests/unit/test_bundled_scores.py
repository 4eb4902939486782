"""Scores bundled with music21: every note of the source is an onset, once for each play, or is tied to an earlier one."""

import io
import re
import zipfile
from collections import Counter
from pathlib import Path

import music21
import pytest

from pianogen.midi.events import ON
from pianogen.midi.score_reader import read_score
from pianogen.midi.scores.bar_order import order_of_bars
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.kern import read_kern
from pianogen.midi.scores.musicxml import read_musicxml
from pianogen.midi.scores.score import Score
from tests.support.score_events import events_of

CORPUS = Path(music21.__file__).parent / "corpus"
# The number of bars with all repeats, counted by hand from the signs of each score.
NUM_PLAYED = {
    "bach/bwv66.6.mxl": 10,
    "bach/bwv277.krn": 19,
    "joplin/maple_leaf_rag.mxl": 145,
    "mozart/k80/movement1.mxl": 134,
    "mozart/k80/movement4.mxl": 171,
    "schumann_clara/polonaise_op1n1.mxl": 88,
    "handel/rinaldo/Lascia_chio_pianga.mxl": 84,
    "chopin/mazurka06-2.krn": 101,
    "beethoven/opus18no1/movement3.krn": 331,
}


def parsed(name: str) -> Score:
    data = (CORPUS / name).read_bytes()
    if not name.endswith(".krn"):
        return read_musicxml(data)
    (score,) = read_kern(data.decode())
    assert not isinstance(score, ScoreError)
    return score


def xml_of(data: bytes) -> str:
    """The text of MusicXML, plain or compressed."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (name,) = (name for name in archive.namelist() if not name.startswith("META-INF"))
            data = archive.read(name)
    return data.decode()


def counted_notes(name: str) -> tuple[Counter[int], Counter[int]]:
    """The notes with a pitch in each bar, and those that end a tie, counted in the text of the source."""
    data = (CORPUS / name).read_bytes()
    notes: Counter[int] = Counter()
    tied: Counter[int] = Counter()
    if name.endswith(".krn"):
        bar = 0
        for line in data.decode().splitlines():
            if line.startswith("="):
                bar += 1 if notes[bar] or bar else 0
            elif not line.startswith(("!", "*")):
                tokens = [token for token in re.split(r"[\t ]", line) if re.search("[a-gA-G]", token) and "r" not in token]
                notes[bar] += len(tokens)
                tied[bar] += sum(bool(re.search(r"[]_]", token)) for token in tokens)
        return notes, tied
    for part in re.findall(r"<part id.*?</part>", xml_of(data), re.DOTALL):
        for bar, measure in enumerate(re.findall(r"<measure .*?</measure>", part, re.DOTALL)):
            written = re.findall(r"<note\b.*?</note>", measure, re.DOTALL)
            sounding = [note for note in written if "<pitch>" in note and "<cue" not in note]
            notes[bar] += len(sounding)
            tied[bar] += sum(bool(re.search(r'<tied? [^>]*type="stop"', note)) for note in sounding)
    return notes, tied


@pytest.mark.parametrize("name", NUM_PLAYED)
def test_bars_are_played_as_often_as_the_signs_say(name: str) -> None:
    assert len(order_of_bars(parsed(name))) == NUM_PLAYED[name]


@pytest.mark.parametrize("name", [name for name in NUM_PLAYED if not name.endswith(".krn")])
def test_notes_of_the_source_times_their_repetitions_are_the_onsets(name: str) -> None:
    notes, tied = counted_notes(name)
    order = order_of_bars(parsed(name))
    events = events_of((CORPUS / name).read_bytes(), Path(name).suffix)
    assert events.notes_lost == 0
    assert int((events.notes["kind"] == ON).sum()) == sum(notes[bar] - tied[bar] for bar in order)


@pytest.mark.parametrize("name", ["palestrina/Agnus_00.krn", "palestrina/Agnus_01.krn"])
def test_notes_of_kern_without_repeats_are_the_onsets(name: str) -> None:
    notes, tied = counted_notes(name)
    assert int((events_of((CORPUS / name).read_bytes(), ".krn").notes["kind"] == ON).sum()) == notes.total() - tied.total()


def test_collection_gives_every_tune() -> None:
    data = (CORPUS / "nottingham-dataset/reelsa-c.abc").read_bytes()
    assert len(read_score(data, ".abc")) == data.count(b"X:")
