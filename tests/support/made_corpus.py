"""Generated corpora: MIDI files, small scores, files that are not readable, and a score that is too long to finish."""

import os
from pathlib import Path

from pianogen.midi.reader import MAX_BYTES
from pianogen.midi.writer import write_midi
from tests.support.made_music import made_roll
from tests.support.rolls import roll_in_4_4

ABC = "X:1\nT:scale\nM:4/4\nL:1/8\nQ:1/4=120\nK:C\nCDEF GABc|c2 G2 E2 C2|]\n"
_SCALE = "CDEFGABc"
# Twelve tunes: the seventh has no notes, and the last four are equal to the first four.
TUNES = "\n".join(
    f"X:{number}\nT:tune {number}\nM:4/4\nL:1/8\nK:C\n{'z8' if number == 7 else _SCALE[number % 8 :] + _SCALE[: number % 8]}|]\n"
    for number in range(1, 13)
)
MUSICXML = """<?xml version="1.0"?>
<score-partwise version="3.1">
  <part-list><score-part id="P1"><part-name>Piano</part-name></score-part></part-list>
  <part id="P1"><measure number="1">
    <attributes><divisions>1</divisions><time><beats>4</beats><beat-type>4</beat-type></time></attributes>
    <note><pitch><step>C</step><octave>4</octave></pitch><duration>4</duration><type>whole</type></note>
  </measure></part>
</score-partwise>
"""
# Four million decorations, which take longer to read than the tests allow.
ENDLESS = "X:1\nK:C\n" + "." * 4_000_000
DRUMS = bytes.fromhex("4d546864 00000006 0000 0001 0060 4d54726b 0000000c 00 993c40 60 893c40 00 ff2f00")


def made_midi(seed: int, steps: int = 40, tempo_us: int | None = None) -> bytes:
    """A small MIDI file that depends on the seed; `tempo_us` changes its tempo and not its notes."""
    roll = made_roll(seed, steps)
    if tempo_us is not None:
        roll = roll_in_4_4(roll.packed, roll.tempo_us * 0 + tempo_us)
    return write_midi(roll)


def with_foreign_chunk(midi: bytes) -> bytes:
    """A file with other bytes and the same music."""
    return midi + b"XFIH\0\0\0\x03abc"


def made_midi_corpus(folder: Path, num_pieces: int) -> Path:
    """A folder of valid MIDI files in two groups."""
    for seed in range(num_pieces):
        file = folder / "AB"[seed % 2] / f"{seed:02}.mid"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(made_midi(seed))
    return folder


def made_mixed_corpus(folder: Path) -> Path:
    """Valid MIDI files and scores, duplicates, hostile names, and inputs that are rejected for many reasons.

    The first name is that of a score that is rejected only because it exceeds the time limit.
    """
    made_midi_corpus(folder, 20)
    (folder / "0 endless.abc").write_text(ENDLESS)
    (folder / "scores").mkdir()
    (folder / "scores/scale.abc").write_text(ABC)
    (folder / "scores/whole.musicxml").write_text(MUSICXML)
    (folder / "A/00 again.mid").write_bytes(made_midi(0))
    (folder / "B/00 in other bytes.MID").write_bytes(with_foreign_chunk(made_midi(0)))
    (folder / "B/01 slower.mid").write_bytes(made_midi(1, tempo_us=700_000))
    hostile = os.fsencode(folder) + b"/hostile"
    os.mkdir(hostile)
    for seed, name in enumerate([b"caf\xe9.mid", b"back\\slash.mid", b'"quoted", with commas.mid', b"two\nlines.mid"], 30):
        Path(os.fsdecode(hostile + b"/" + name)).write_bytes(made_midi(seed))
    refused = folder / "refused"
    refused.mkdir()
    (refused / "text.mid").write_text("this is not music")
    (refused / "cut.mid").write_bytes(made_midi(2)[:-9])
    (refused / "drums.mid").write_bytes(DRUMS)
    (refused / "broken.musicxml").write_text(MUSICXML[:200])
    (refused / "nowhere.mid").symlink_to("no such file")
    os.mkfifo(refused / "pipe.mid")
    with (refused / "large.mid").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    (folder / "README.txt").write_text("not an input")
    return folder
