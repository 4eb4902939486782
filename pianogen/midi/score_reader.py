"""The events of the pieces in a score file: MusicXML, Humdrum **kern or ABC."""

import codecs
from typing import NamedTuple

from pianogen.midi.events import Events
from pianogen.midi.performance import perform
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.scores.abc_tunes import read_abc
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.kern import read_kern
from pianogen.midi.scores.musicxml import read_musicxml
from pianogen.midi.scores.score import Score

_XML_SUFFIXES = (".mxl", ".musicxml", ".xml")


class Tune(NamedTuple):
    """One piece of a score file.

    Attributes:
        number: its position in the file, from 1; None if the file has only one.
        events: its events, or why this piece cannot be read.
        notes_lost: notes of the source that are not among the events, because no pitch or duration could be read.
    """

    number: int | None
    events: Events | Rejection
    notes_lost: int


def read_score(data: bytes, suffix: str) -> list[Tune]:
    """The pieces of a score file.

    Args:
        suffix: of the file's name, in lower case.

    Raises:
        Rejection: the file contains no score.
    """
    try:
        scores = _parse(data, suffix)
    except ScoreError as error:
        raise _rejection(error) from error
    return [_perform(number if len(scores) > 1 else None, score) for number, score in enumerate(scores, 1)]


def _parse(data: bytes, suffix: str) -> list[Score] | list[Score | ScoreError]:
    if suffix in _XML_SUFFIXES:
        return [read_musicxml(data)]
    return read_kern(_decode(data)) if suffix == ".krn" else read_abc(_decode(data))


def _decode(data: bytes) -> str:
    """The text of a **kern or ABC file: UTF-8, UTF-16 with a byte order mark, or Latin-1."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _perform(number: int | None, score: Score | ScoreError) -> Tune:
    if isinstance(score, ScoreError):
        return Tune(number, _rejection(score), 0)
    try:
        return Tune(number, perform(score), score.notes_lost)
    except ScoreError as error:
        return Tune(number, _rejection(error), 0)


def _rejection(error: ScoreError) -> Rejection:
    return Rejection(Reason(error.reason), str(error))
