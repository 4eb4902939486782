"""The values of ABC fields: keys, meters, unit lengths, tempos, orders of parts, and properties of voices.

Source: the ABC standard 2.1, https://abcnotation.com/wiki/abc:standard:v2.1.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from pianogen.midi.scores.errors import ScoreError

# Fifths above C of the letters, and of the modes against major, by their first three letters.
_FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
_ACCIDENTAL_FIFTHS = {"": 0, "#": 7, "sharp": 7, "b": -7, "flat": -7}
_MODES = {"": 0, "maj": 0, "ion": 0, "m": -3, "min": -3, "aeo": -3, "mix": -1, "dor": -2, "phr": -4, "lyd": 1, "loc": -5}
_KEY = re.compile(
    r"\s*(?:(?P<tonic>[A-Ga-g])(?P<accidental>[#b]|\s*(?:flat|sharp)(?![a-z])|)"
    r"\s*(?P<mode>(?:maj|min|ion|aeo|mix|dor|phr|lyd|loc)[a-z]*|m)?"
    r"|(?P<bagpipe>HP)|(?P<none>none))(?![a-z0-9#])\s*(?P<explicit>exp(?:licit)?(?![a-z]))?",
    re.IGNORECASE,
)
_KEY_ACCIDENTAL = re.compile(r"(\^\^|\^|__|_|=)([A-Ga-g])")
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
# "=c" after a space is a natural of the key.
_PROPERTY = re.compile(r"""(?<![^\s"])([\w-]+)(?!\s+=[A-Ga-g](?:[\s^_=]|$))\s*=\s*("[^"]*"|\S+)""")
_CLEF = re.compile(r"(?<!\w)(?:treble|alto|tenor|bass|perc|[CFG](?=\d))\d?(?:[+-](?:8|15))?(?!\w)")
_CLEF_OCTAVES = {"+8": 1, "-8": -1, "+15": 2, "-15": -2}
_NOTES = re.compile(r"(?:[A-Ga-g][,']*[\d/]*){3,}")
_FRACTION = re.compile(r"(\d{1,4})/(\d{1,4})")
# A number of beats per minute, as in "=60", "=ca. 60" or "=60-66" (its first number), but not the note in "=1/8".
_COUNT = r"(?P<count>\d{1,4}(?:\.\d{1,4})?)(?![\w/])"
_TEMPO = re.compile(rf"(?P<beats>(?:\d{{1,4}}/\d{{1,4}}\s*)+)=[^\d/=]*{_COUNT}")
_OLD_TEMPO = re.compile(rf"(?:C(?P<units>\d{{0,2}})\s*=[^\d/=]*)?{_COUNT}")
_MAX_PARTS = 1_000
_PART_TITLE = re.compile(r"[A-Z][a-z]{2,}(?:\W+[A-Za-z]?[a-z]{2,})*\W*")  # words such as "March", and no order as in "AAB"
_TRANSPOSING = {"shift", "sound", "score", "instrument"}  # ABC 2.2 and abcm2ps; their meaning depends on the program


class VoiceProperties(NamedTuple):
    """The properties in K: or V: that change the sound of a voice. A property holds until the same property has another value.

    Attributes:
        transpositions: semitones by property: "transpose", "octave" and "clef".
        is_percussion: whether the clef is "perc"; None if no clef is given.
    """

    transpositions: dict[str, int]
    is_percussion: bool | None


def key_signature(text: str) -> dict[str, int] | None:
    """The alteration of each letter that the key alters; None if the field only changes properties such as the clef.

    Raises:
        ScoreError: the key or one of its accidentals is unknown.
    """
    match = _KEY.match(text)
    if match is None:
        without_properties = _PROPERTY.sub("", text).split()
        if not text.strip():
            return {}
        if not without_properties or re.match(r"(treble|alto|tenor|bass|perc)", without_properties[0]):
            return None
        raise ScoreError(f"the key {text.strip()!r} is unknown")
    signature: dict[str, int] = {}
    if match["bagpipe"]:
        signature = {"F": 1, "C": 1}
    elif match["tonic"] and not match["explicit"]:
        signature = _signature(match["tonic"].upper(), match["accidental"], (match["mode"] or "").lower())
    for word in _PROPERTY.sub("", text[match.end() :]).split():
        if word[0] not in "^_=":
            continue
        if _KEY_ACCIDENTAL.sub("", word):
            raise ScoreError(f"the accidentals {word} of the key cannot be read; write them as in ^f _b =c")
        signature |= {letter.upper(): ACCIDENTALS[accidental] for accidental, letter in _KEY_ACCIDENTAL.findall(word)}
    return signature


def _signature(tonic: str, accidental: str, mode: str) -> dict[str, int]:
    fifths = _FIFTHS[tonic] + _ACCIDENTAL_FIFTHS[accidental.strip().lower()] + _MODES[mode[:3]]
    letters = list(_FIFTHS) if fifths > 0 else list(reversed(_FIFTHS))
    signature: dict[str, int] = {}
    for index in range(abs(fifths)):
        letter = letters[index % 7]
        signature[letter] = signature.get(letter, 0) + (1 if fifths > 0 else -1)
    return signature


def voice_properties(text: str) -> VoiceProperties:
    """The properties in a K: or V: field.

    Raises:
        ScoreError: a transposition that programs read differently.
    """
    properties = {name.lower(): value.strip('"') for name, value in _PROPERTY.findall(text)}
    if refused := _TRANSPOSING & properties.keys():
        raise ScoreError(f"the property {min(refused)}= is not supported; write transpose= instead")
    transpositions: dict[str, int] = {}
    for name, semitones in (("t", 1), ("transpose", 1), ("octave", 12)):
        if name in properties:
            transpositions["octave" if name == "octave" else "transpose"] = semitones * integer(properties[name])
    clef = properties.get("clef")
    if clef is None and (match := _CLEF.search(_PROPERTY.sub("", text))):
        clef = match[0]
    if clef is None:
        return VoiceProperties(transpositions, None)
    octaves = next((octaves for suffix, octaves in _CLEF_OCTAVES.items() if clef.endswith(suffix)), 0)
    return VoiceProperties(transpositions | {"clef": 12 * octaves}, clef.startswith("perc"))


def has_music(text: str) -> bool:
    """Whether music follows the value of a field: a bar line, or a word of three or more notes, such as "cdef"."""
    text = re.sub(r'"[^"]*"', "", _PROPERTY.sub("", text))
    return "|" in text or any(map(_NOTES.fullmatch, text.split()[1:]))


def integer(text: str) -> int:
    """A number of semitones or octaves.

    Raises:
        ScoreError: the text is not an integer of at most three digits.
    """
    match = re.fullmatch(r"[+-]?\d{1,3}", text)
    if match is None:
        raise ScoreError(f"{text!r} is not an integer; a transposition is a number of semitones or octaves, such as -12")
    return int(text)


def meter(text: str) -> tuple[Fraction | None, bool]:
    """The length of a bar in whole notes, None without a meter, and whether the meter is compound, such as 6/8.

    Raises:
        ScoreError: the meter is unknown.
    """
    text = text.strip()
    if text in ("C", "C|"):
        return Fraction(1), False
    if text.lower() in ("", "none"):
        return None, False
    match = re.fullmatch(r"\(?(\d{1,3}(?:\s*\+\s*\d{1,3})*)\)?\s*/\s*(\d{1,3})", text)
    if match is None or int(match[2]) == 0:
        raise ScoreError(f"the meter {text!r} is unknown")
    num_beats = sum(int(number) for number in match[1].split("+"))
    return Fraction(num_beats, int(match[2])), num_beats > 3 and num_beats % 3 == 0


def unit_length(text: str) -> Fraction:
    """The value of L: in whole notes.

    Raises:
        ScoreError: the value is not a fraction.
    """
    match = re.fullmatch(r"(\d{1,3})(?:/(\d{1,4}))?", text.strip())
    if match is None or int(match[1]) == 0 or int(match[2] or 1) == 0:
        raise ScoreError(f"the unit note length {text.strip()!r} is not a fraction")
    return Fraction(int(match[1]), int(match[2] or 1))


def quarters_per_minute(text: str, unit: Fraction) -> Fraction | None:
    """The tempo of Q:, None for a field of words alone.

    Args:
        unit: the unit note length in whole notes, the beat of the old forms "120" and "C=120"; three of them that of "C3=120".
    """
    text = re.sub(r'"[^"]*"', "", text).strip()
    if match := _TEMPO.match(text):
        beats = [(int(numerator), int(denominator)) for numerator, denominator in _FRACTION.findall(match["beats"])]
        if any(denominator == 0 for _, denominator in beats):
            return None
        return 4 * sum((Fraction(*beat) for beat in beats), Fraction(0)) * Fraction(match["count"])
    if match := _OLD_TEMPO.match(text):
        return 4 * unit * int(match["units"] or 1) * Fraction(match["count"])
    return None


def order_of_parts(text: str) -> list[str]:
    """The parts of a P: field in the header in the order of play: "A(BC)2" is A B C B C, and the title "March" none.

    Raises:
        ScoreError: brackets do not match, or there are more than 1,000 parts.
    """
    if _PART_TITLE.fullmatch(text):
        return []
    groups: list[list[list[str]]] = [[]]  # of each open bracket, the parts that each of its items stands for
    for symbol in re.findall(r"[A-Za-z()]|\d{1,3}", text):
        if symbol == "(":
            groups.append([])
        elif symbol == ")" and len(groups) > 1:
            closed = groups.pop()
            groups[-1].append([part for item in closed for part in item])
        elif symbol.isdigit() and groups[-1]:
            groups[-1][-1] = groups[-1][-1] * int(symbol)
        elif symbol.isalpha():
            groups[-1].append([symbol])
        else:
            raise ScoreError(f"the order of parts {text!r} cannot be read")
        if sum(len(item) for item in groups[-1]) > _MAX_PARTS:
            raise ScoreError(f"the order of parts {text!r} has more than {_MAX_PARTS} parts")
    if len(groups) > 1:
        raise ScoreError(f"the order of parts {text!r} cannot be read")
    return [part for item in groups[0] for part in item]
