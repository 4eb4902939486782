"""The words and signs for the order of bars: D.C., D.S., To Coda, Fine, segno and coda, and their effect on a bar's marks."""

import re
from collections.abc import Mapping

from pianogen.midi.scores.score import Marks

# The names are those of MusicXML's element `sound`. The words are matched after everything but letters became a single space.
_WORDS = {
    "dacapo": re.compile(r"(d c|dc|da ?capo)( .*)?"),
    "dalsegno": re.compile(r"(d s|ds|da?l ?segno)( .*)?"),
    "tocoda": re.compile(r"(to|al|alla|da) ?coda"),
    "coda": re.compile(r"coda"),
    "segno": re.compile(r"segno"),
    "fine": re.compile(r"fine"),
}


def jumps_of_words(text: str) -> dict[str, str]:
    """The jump or sign that a text names, if it is nothing else, with an empty label."""
    words = re.sub(r"[^a-z]+", " ", text.lower()).strip()
    return {jump: "" for jump, pattern in _WORDS.items() if pattern.fullmatch(words)}


def add_jumps(marks: Marks, jumps: Mapping[str, str]) -> None:
    """Adds jumps and signs with their labels to the marks of a bar."""
    if "segno" in jumps:
        marks.segno.add(jumps["segno"])
    if "coda" in jumps:
        marks.coda.add(jumps["coda"])
    marks.to_coda = jumps.get("tocoda", marks.to_coda)
    marks.dal_segno = jumps.get("dalsegno", marks.dal_segno)
    marks.da_capo |= "dacapo" in jumps
    marks.fine |= "fine" in jumps
