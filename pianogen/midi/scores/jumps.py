"""The words and signs for the order of bars: D.C., D.S., To Coda, Fine, segno and coda, and their effect on a bar's marks."""

import re
from collections.abc import Mapping

from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.score import Marks

# A D.C. or D.S. at the start of the words. The names of all jumps and signs are those of MusicXML's element `sound`.
_RETURNS = {
    "dacapo": re.compile(r"d[./] ?c\b\.?|dc\b|d(?:a[ -]?|\. ?)capo\b\.?"),
    "dalsegno": re.compile(r"(?:d[./] ?s\b\.?|ds\b|d(?:al?[ -]?|\. ?)segno\b\.?)(?: segno)?"),
}
_TO = r"\b(?:al|alla|sin'?|sino|fino|to|the|bis|zum|until|till)"
# What may follow: where it ends, or words that concern repeats or the time after it.
_REST = re.compile(rf"(?:{_TO} ?)*(?:fine|coda)\b.*|(?:&|(?:e|ed|and|ma|poi|then|senza|without|ohne)\b(?!\.)).*|")
_UNTIL = re.compile(rf"(?:^|{_TO} ?)(?:fine|coda)\b")  # where a D.C. or D.S. ends
_END = re.compile(r"\b(?:al)?(fine|coda)\b")
_SEPARATORS = " .,:;-"
_SIGN_WORDS = {
    "tocoda": re.compile(r"(?:to|da) ?coda"),
    "alcoda": re.compile(r"(?:al|alla) ?coda"),
    "alfine": re.compile(r"al ?fine"),
    "coda": re.compile(r"coda"),
    "segno": re.compile(r"segno"),
    "fine": re.compile(r"fine"),
}
# Signs inside words: those of Unicode and of music fonts (SMuFL), and a circled plus, which looks like a coda.
_SIGNS = str.maketrans(dict.fromkeys("\U0001d10b\ue047", " segno ") | dict.fromkeys("\U0001d10c\ue048⊕", " coda "))
_BRACKETS = re.compile(r"[()\[\]{}]")
_REPEATED_SIGN = re.compile(r"\b(segno|coda)(?: \1)+\b")
# A D.C. or D.S. after other words, also "Menuetto D.C." and "Dal doppio segno" in letters. Other letters may be the initials of a
# name, or a city: with them, the words must name a place.
_WRITTEN_RETURN = re.compile(r"\bd(?:a[ -]?|\. ?)capo\b|\bd(?:al?[ -]?|al doppio |\. ?)segno\b|\b[md]\. ?d\. ?[cs]$")
_INITIALS = re.compile(r"\bd\. ?[cs]\b")
_PLACE = re.compile(
    r"\b(?:men(?:\.|[ui]ett?o?\b)|minuet|scherz|trio\b|mar(?:cia|ch)|rond[eo]|allegr|andant|tema\b|theme\b|aria\b|chorus|verse"
    r"|refrain|ma[gj]gior|majore|minore|prim[ao]\b|fine\b|segno\b|coda\b|repeat|then\b|poi\b)"
)


def jumps_of_words(text: str) -> dict[str, str]:
    """The jump or sign that a text names, with an empty label, and the ends "alfine" and "alcoda" of a D.C. or D.S.

    Raises:
        ScoreError: a D.C. or D.S. to or up to a place that only the words name, such as "Menuetto D.C." or "D.C. al Segno".
    """
    words = _normalized(text)
    jump, rest = _split_return(words)
    if jump is not None:
        if not _REST.fullmatch(rest) or re.search(r"\bsegno\b", rest):
            raise ScoreError(
                f"the words {_quoted(text)} start with D.C. or D.S., and the rest is not understood; write one of them"
                " alone, with al Fine, or with al Coda"
            )
        return {jump: ""} | _ends(rest)
    if _WRITTEN_RETURN.search(words) or (_INITIALS.search(words) and _PLACE.search(words)):
        raise ScoreError(f"the words {_quoted(text)} return to a place that has no sign; write D.C., or D.S. and a segno")
    return {jump: "" for jump, pattern in _SIGN_WORDS.items() if pattern.fullmatch(words)}


def ends_of_words(text: str) -> dict[str, str]:
    """The ends "alfine" and "alcoda" in words whose D.C. or D.S. is stated by a sign or sound."""
    return _ends(_split_return(_normalized(text))[1])


def _normalized(text: str) -> str:
    words = " ".join(_BRACKETS.sub(" ", text.lower().translate(_SIGNS)).split()).strip("., ")
    return _REPEATED_SIGN.sub(r"\1", words)


def _split_return(words: str) -> tuple[str | None, str]:
    """The D.C. or D.S. at the start of the words, None without one, and the rest of the words."""
    for jump, pattern in _RETURNS.items():
        if match := pattern.match(words):
            return jump, words[match.end() :].strip(_SEPARATORS)
    return None, words


def _ends(rest: str) -> dict[str, str]:
    """All ends that the rest of the words after D.C. or D.S. mentions, if it names one, as in "al Fine e poi la Coda"."""
    return {f"al{sign}": "" for sign in _END.findall(rest)} if _UNTIL.search(rest) else {}


def _quoted(text: str) -> str:
    return repr(" ".join(text.split()))


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
