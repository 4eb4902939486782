"""MusicXML for tests: notes, parts, scores and compressed files."""

import io
import zipfile

from tests.support.score_events import events_of, notes_of


def note(pitch: str, duration: int = 4, *children: str, attributes: str = "") -> str:
    """A note such as "C4" or "B-3", "r" for a rest, or "x" without a pitch, with more children in front of its pitch."""
    names = {"r": "<rest/>", "x": "<unpitched/>"}
    alter = {"-": "<alter>-1</alter>", "#": "<alter>1</alter>"}.get(pitch[1:2], "")
    shown = names.get(pitch) or f"<pitch><step>{pitch[0]}</step>{alter}<octave>{pitch[-1]}</octave></pitch>"
    first = "".join(child for child in children if child.startswith(("<grace", "<cue", "<chord")))
    rest = "".join(child for child in children if not child.startswith(("<grace", "<cue", "<chord")))
    length = "" if "<grace/>" in children else f"<duration>{duration}</duration>"
    return f"<note{attributes}>{first}{shown}{length}{rest}</note>"


def backup(duration: int) -> str:
    return f"<backup><duration>{duration}</duration></backup>"


def part(*measures: str, attributes: str = "") -> str:
    """A part with 4 divisions per quarter note, so that durations are sixteenth notes."""
    start = f"<attributes><divisions>4</divisions>{attributes}</attributes>"
    return "".join(f"<measure>{start if index == 0 else ''}{measure}</measure>" for index, measure in enumerate(measures))


def score(*parts: str) -> str:
    return (
        "<score-partwise>"
        + "".join(f'<part id="P{index}">{text}</part>' for index, text in enumerate(parts))
        + "</score-partwise>"
    )


def encoded_by(data: str, *programs: str) -> str:
    """A score that programs have written."""
    software = "".join(f"<software>{program}</software>" for program in programs)
    return data.replace("<part ", f"<identification><encoding>{software}</encoding></identification><part ", 1)


def shown(data: str | bytes, suffix: str = ".musicxml") -> str:
    """The notes as start:key+length, in sixteenth notes."""
    notes = notes_of(events_of(data, suffix))
    return " ".join(f"{start}:{'drum' if key is None else key}+{length}" for start, key, length in notes)


C4 = note("C4")
BACKWARD = '<barline location="left"><repeat direction="backward"/></barline>'
FULL_REST = '<note><rest measure="yes"/><duration>{}</duration></note>'


def zipped(**members: str | bytes) -> bytes:
    """A zip archive; __ in a name is a slash, and _xml at its end the suffix."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return packed.getvalue()


def container(*root_files: str) -> str:
    return "<container><rootfiles>" + "".join(f"<rootfile {file}/>" for file in root_files) + "</rootfiles></container>"


MEDIA_TYPE = 'media-type="application/vnd.recordare.musicxml+xml"'
