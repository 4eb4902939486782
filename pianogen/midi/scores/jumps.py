"""The words and signs for the order of bars: D.C., D.S., To Coda, Fine, segno and coda, and their effect on a bar's marks."""

import re
from collections.abc import Mapping

from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.score import Marks

_DA_CAPO = r"(?:d\. ?c\b\.?|dc\b|da ?capo\b\.?)"
_DAL_SEGNO = r"(?:d\. ?s\b\.?|ds\b|da?l ?segno\b\.?)(?: segno)?"
_WHERE = r" ?(?:(?:al|e|ma|poi|senza).*)?"
# The names are those of MusicXML's element `sound`.
_WORDS = {
    "dacapo": re.compile(_DA_CAPO + _WHERE),
    "dalsegno": re.compile(_DAL_SEGNO + _WHERE),
    "tocoda": re.compile(r"(?:to|al|alla|da) ?coda"),
    "coda": re.compile(r"coda"),
    "segno": re.compile(r"segno"),
    "fine": re.compile(r"fine"),
}
# Signs inside words: those of Unicode and of music fonts (SMuFL), and a circled plus, which looks like a coda.
_SIGNS = str.maketrans(dict.fromkeys("\U0001d10b\ue047", " segno ") | dict.fromkeys("\U0001d10c\ue048⊕", " coda "))
_BRACKETS = re.compile(r"[()\[\]{}]")
_REPEATED_SIGN = re.compile(r"\b(segno|coda)(?: \1)+\b")
_UNTIL = re.compile(r"\bal(?:la)? ?(fine|coda)\b")  # where a D.C. or D.S. ends
# Inside other words, only the forms that are nothing else.
_RETURN = re.compile(r"\b(?:d\. ?[cs]\b|da ?capo\b|da?l ?segno\b)")


def jumps_of_words(text: str) -> dict[str, str]:
    """The jump or sign that a text names, with an empty label; for a D.C. or D.S. also "alfine" and "alcoda".

    Raises:
        ScoreError: a D.C. or D.S. to a place that only the words name, such as "Menuetto D.C.".
    """
    words = " ".join(_BRACKETS.sub(" ", text.lower().translate(_SIGNS)).split()).strip("., ")
    words = _REPEATED_SIGN.sub(r"\1", words)
    jumps = {jump: "" for jump, pattern in _WORDS.items() if pattern.fullmatch(words)}
    if not jumps.keys().isdisjoint(("dacapo", "dalsegno")):
        jumps |= {f"al{sign}": "" for sign in _UNTIL.findall(words)}
    if not jumps and _RETURN.search(words):
        quoted = " ".join(text.split())
        raise ScoreError(f"the words {quoted!r} return to a place that has no sign; write D.C., or D.S. and a segno")
    return jumps


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
    marks.until |= {sign for sign in ("fine", "coda") if f"al{sign}" in jumps}
