"""Score files as programs write them give the notes, tempos and bar lines that musicians read.

The files of tests/data/scores were made after public bug reports. expected.csv holds what each contains, in sixteenth notes:
notes as start:key+length (drum for percussion), tempos as start:microseconds, and the starts of the bars. Tunes have #number.
"""

import csv
from pathlib import Path

import pytest

from pianogen.midi.events import Events
from pianogen.midi.rejection import Rejection
from pianogen.midi.score_reader import read_score
from tests.support.paths import ROOT
from tests.support.score_events import notes_of, steps_of

SCORES = ROOT / "tests/data/scores"


def expected_rows() -> dict[str, dict[str, str]]:
    with (SCORES / "expected.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def row_of(name: str, events: Events) -> dict[str, str]:
    notes = notes_of(events)
    tempos = zip(steps_of(events.tempos["tick"], events), events.tempos["tempo_us"].tolist(), strict=True)
    return {
        "file": name,
        "rejected": "",
        "notes": " ".join(f"{start}:{'drum' if key is None else key}+{length}" for start, key, length in notes),
        "tempos": " ".join(f"{start}:{tempo_us}" for start, tempo_us in tempos),
        "bars": " ".join(str(start) for start in steps_of(events.meters["tick"], events)),
    }


def found_rows(path: Path) -> list[dict[str, str]]:
    """A row for each piece of a file, in the form of expected.csv."""
    try:
        tunes = read_score(path.read_bytes(), path.suffix)
    except Rejection as rejection:
        return [{"file": path.name, "rejected": rejection.reason, "notes": "", "tempos": "", "bars": ""}]
    rows = []
    for number, events in enumerate(tunes, 1):
        assert isinstance(events, Events), events
        assert events.notes_lost == 0
        rows.append(row_of(path.name if len(tunes) == 1 else f"{path.name}#{number}", events))
    return rows


FILES = sorted(path for path in SCORES.iterdir() if path.name != "expected.csv")


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in FILES])
def test_score_file_gives_what_musicians_read(path: Path) -> None:
    expected = [row for name, row in expected_rows().items() if name.partition("#")[0] == path.name]
    assert found_rows(path) == expected
    assert expected
