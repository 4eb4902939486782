"""The events of the pieces in a score file: MusicXML, Humdrum **kern or ABC."""

import codecs

from pianogen.midi.events import Events
from pianogen.midi.performance import perform
from pianogen.midi.rejection import Reason, Rejection
from pianogen.midi.scores.abc_tunes import read_abc
from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.kern import read_kern
from pianogen.midi.scores.musicxml import read_musicxml
from pianogen.midi.scores.score import Score

_XML_SUFFIXES = (".mxl", ".musicxml", ".xml")


def read_score(data: bytes, suffix: str) -> list[Events | Rejection]:
    """The events of each piece of a score file, in the order of the file, or why this piece cannot be read.

    Args:
        suffix: of the file's name, in lower case.

    Raises:
        Rejection: the file contains no score.
    """
    try:
        scores = _parse(data, suffix)
    except ScoreError as error:
        raise _rejection(error) from error
    return [_perform(score) for score in scores]


def _parse(data: bytes, suffix: str) -> list[Score] | list[Score | ScoreError]:
    if suffix in _XML_SUFFIXES:
        return [read_musicxml(data)]
    return read_kern(_decode(data)) if suffix == ".krn" else read_abc(_decode(data))


def _decode(data: bytes) -> str:
    """The text of a **kern or ABC file with the line ends "\\n": UTF-8, UTF-16 with a byte order mark, or Latin-1."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    # Not str.splitlines: titles contain other characters that it takes for line ends, such as U+0085 (Windows-1252: "…").
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _perform(score: Score | ScoreError) -> Events | Rejection:
    if isinstance(score, ScoreError):
        return _rejection(score)
    try:
        return perform(score)
    except ScoreError as error:
        return _rejection(error)


def _rejection(error: ScoreError) -> Rejection:
    return Rejection(Reason(error.reason), str(error))
