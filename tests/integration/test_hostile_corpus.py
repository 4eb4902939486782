"""A corpus of damaged, unreadable and strangely named inputs has one ledger row per input, with the reason of its bytes."""

import csv
import os
import random
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pianogen.midi.options import MidiParser, ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Rejection
from pianogen.roll import Roll
from pianogen.store import Store
from tests.support.corpora import BAD_INPUTS, PIANO_MIDI_DE
from tests.support.made_corpus import DRUMS, made_midi
from tests.support.made_music import million_notes
from tests.support.processes import finished, preprocess_command
from tests.support.rolls import roll_in_4_4

GAP = b"\xff\xff\xff\x7f"  # 2**28 - 1 ticks, the longest delta time of MIDI
GIGABYTES = 2 << 30
NAMES = {
    b"two words.mid": "two words.mid",
    b" '\"quoted\"', with commas.mid": " '\"quoted\"', with commas.mid",
    b"two\nlines\r.mid": "two\nlines\r.mid",
    b"caf\xe9.mid": "caf\\xe9.mid",
    b"back\\slash.mid": "back\\\\slash.mid",
    b"-rf *.mid": "-rf *.mid",
}


def one_track(track: bytes) -> bytes:
    """A MIDI file of one track."""
    return DRUMS[:14] + b"MTrk" + len(track).to_bytes(4, "big") + track + b"\0\xff\x2f\0"


def originals() -> dict[str, bytes]:
    """Valid files to damage: a generated one, and the smallest real one if the corpus is installed."""
    real = min(PIANO_MIDI_DE.glob("*/*.mid"), key=lambda path: path.stat().st_size, default=None)
    return {"generated": made_midi(0)} | ({} if real is None else {"real": real.read_bytes()})


def damaged_files() -> dict[str, bytes]:
    """Names and contents: truncated files, flipped bits, long gaps, files without notes."""
    files = {
        "empty.mid": b"",
        "zeros.mid": bytes(4096),
        "text.mid": b"not a MIDI file",
        "drums.mid": DRUMS,
        "gap in front.mid": one_track(GAP + b"\x90\x3c\x40\x60\x3c\0"),
        "gap inside.mid": one_track(b"\0\x90\x3c\x40\x60\x3c\0" + GAP + b"\x3c\x40\x60\x3c\0"),
        "gap held.mid": one_track(b"\0\x90\x3c\x40" + GAP + b"\x3c\0"),
        "gaps.mid": one_track(b"\0\x90\x3c\x40" + (GAP + b"\x3c\x40\x60\x3c\0") * 1_000),
        "bad score.musicxml": b"<score-partwise",
    }
    if BAD_INPUTS.is_dir():
        files |= {f"collected/{path.name}": path.read_bytes() for path in BAD_INPUTS.glob("*.mid")}
    generator = random.Random(0)
    for name, data in originals().items():
        for length in generator.sample(range(len(data)), 40):
            files[f"truncated/{name} {length:05}.mid"] = data[:length]
        for number in range(60):
            flipped = bytearray(data)
            for _ in range(generator.randint(1, 3)):
                flipped[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
            files[f"flipped/{name} {number:02}.mid"] = bytes(flipped)
    return files


def write_bombs(path: Path) -> None:
    """Writes a small zip with a member that declares the gigabytes it unpacks to, and one that declares 100 bytes."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    megabyte = pack.compress(bytes(1 << 20)) + pack.flush(zlib.Z_FULL_FLUSH)
    packed = megabyte * (GIGABYTES >> 20) + zlib.compressobj(wbits=-zlib.MAX_WBITS).flush()
    with zipfile.ZipFile(path, "w") as file:
        for name in ("large.mid", "declared_small.mid"):
            file.writestr(name, packed)
        file.writestr("valid.mid", made_midi(1))
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    for declared in (GIGABYTES, 100):
        data[directory + 10 : directory + 12] = zipfile.ZIP_DEFLATED.to_bytes(2, "little")
        data[directory + 24 : directory + 28] = declared.to_bytes(4, "little")
        directory = data.index(b"PK\x01\x02", directory + 1)
    path.write_bytes(data)


Verdict = tuple[str, str, Roll | None]


def verdict(data: bytes, name: str, parser: MidiParser) -> Verdict:
    """Reason, message and roll of a file, read in this process."""
    try:
        return "", "", read_roll(data, name, ReadOptions(parser))[0]
    except Rejection as rejection:
        return rejection.reason, str(rejection), None


@dataclass
class Result:
    """The ledger of all inputs, and the expected verdict of every input."""

    store: Path
    rows: list[dict[str, str]]
    expected: dict[str, Verdict]
    stderr: str


def write_corpus(root: Path, with_million: bool) -> dict[str, bytes]:
    """Writes files whose bytes decide the verdict; returns the bytes by ledger name."""
    files = damaged_files()
    if with_million:
        files["million.mid"] = million_notes()[0]
    for name, data in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    for seed, (raw, name) in enumerate(NAMES.items(), 20):
        files[name] = made_midi(seed)
        Path(os.fsdecode(os.fsencode(root) + b"/" + raw)).write_bytes(files[name])
    return files


def write_unreadable(root: Path) -> list[str]:
    """Writes inputs that cannot be read; returns their ledger names. Root can read a file without permissions."""
    os.mkfifo(root / "pipe.mid")
    (root / "dangling.mid").symlink_to("no such file")
    (root / "failing.mid").symlink_to("/proc/self/mem")
    (root / "endless.mid").symlink_to("/dev/zero")
    (root / "locked.mid").write_bytes(made_midi(2))
    (root / "locked.mid").chmod(0)
    names = ["pipe.mid", "dangling.mid", "failing.mid", "endless.mid", "bombs.zip/declared_small.mid"]
    return names if os.access(root / "locked.mid", os.R_OK) else [*names, "locked.mid"]


@pytest.fixture(scope="module", params=["smf", "music21"])
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    parser: Any = request.param
    folder = tmp_path_factory.mktemp("hostile")
    root = folder / "corpus"
    root.mkdir()
    # music21 takes minutes for a million notes, more than the CPU time limit.
    expected = {name: verdict(data, name, parser) for name, data in write_corpus(root, parser == "smf").items()}
    write_bombs(root / "bombs.zip")
    expected["bombs.zip/valid.mid"] = verdict(made_midi(1), "valid.mid", parser)
    expected["bombs.zip/large.mid"] = ("too_large", "2,147,483,648 bytes; at most 16,777,216 are read", None)
    expected["locked.mid"] = verdict(made_midi(2), "locked.mid", parser)
    expected |= dict.fromkeys(write_unreadable(root), ("unreadable", "", None))
    store = folder / "a.h5"
    done = finished(preprocess_command(2, root, "--store", store, "--parser", parser, "--max-rejects", 1))
    assert done.returncode == 0, done.stderr
    with store.with_suffix(".ledger.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    return Result(store, rows, expected, done.stderr)


def test_every_input_has_one_row(result: Result) -> None:
    assert [row["name"] for row in result.rows] == sorted(result.expected)
    assert {"rejected", "kept", "duplicate"} == {row["status"] for row in result.rows}


def test_ledger_has_the_reason_of_the_bytes(result: Result) -> None:
    assert {row["name"]: row["reason"] for row in result.rows} == {
        name: reason for name, (reason, _, _) in result.expected.items()
    }
    for row in result.rows:
        _, message, _ = result.expected[row["name"]]
        assert row["message"] == message or (row["message"] and row["reason"] in ("", "unreadable")), row


def test_store_has_the_rolls_of_the_bytes(result: Result) -> None:
    kept = [row["name"] for row in result.rows if row["status"] == "kept"]
    with Store(result.store) as store:
        store.verify()
        assert store.pieces.name == kept
        for index, name in enumerate(kept):
            assert store.roll(index) == result.expected[name][2], name


def test_duplicate_is_equal_to_the_piece_in_its_message(result: Result) -> None:
    for row in result.rows:
        if row["status"] == "duplicate":
            one, other = (result.expected[name][2] for name in (row["name"], row["message"].removeprefix("equal to ")))
            assert one is not None
            assert other is not None
            assert roll_in_4_4(one.packed, one.tempo_us) == roll_in_4_4(other.packed, other.tempo_us)


def test_nothing_crashes_and_no_temporary_file_remains(result: Result) -> None:
    assert not any(crash in result.stderr for crash in ("Traceback", "Abort", "Warning", "Error"))
    assert {path.name for path in result.store.parent.iterdir()} == {"corpus", "a.h5", "a.ledger.csv"}
