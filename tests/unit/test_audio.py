"""Sound files of decoded rolls."""

import io
import sys
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import soundfile

from jobs import decode
from jobs.export import midi_files
from jobs.export.audio import AudioFormat
from jobs.export.output_folder import OutputFolder
from pianogen import command
from pianogen.errors import PianogenError
from pianogen.roll import HOLD, ONSET, SILENT, Roll, equal_bars, pack
from pianogen.store import Split
from tests.support.made_music import made_roll, store_of
from tests.support.rolls import roll_in_4_4

RATE = 48_000
A3, A4 = 36, 48
AUDIBLE = 0.01


def roll_of(states: np.ndarray, tempo_us: int = 500_000) -> Roll:
    return roll_in_4_4(pack(states.astype(np.uint8)), np.full(len(states), tempo_us, np.uint32))


def two_notes() -> Roll:
    """A3 from 0.5 to 1 second, and A4 from 1.5 to 2 seconds."""
    states = np.full((16, 88), SILENT)
    for key, onset in ((A3, 4), (A4, 12)):
        states[onset : onset + 4, key] = HOLD
        states[onset, key] = ONSET
    return roll_of(states)


def all_keys() -> Roll:
    states = np.full((16, 88), HOLD)
    states[::4] = ONSET
    return roll_of(states)


def export(folder: Path, *rolls: Roll, audio_format: AudioFormat = AudioFormat.WAV) -> list[np.ndarray]:
    """(T, 2) sound of each roll, as exported."""
    store = store_of(folder / "corpus.h5", list(rolls), [Split.NONE] * len(rolls))
    midi_files.write_folder([store], OutputFolder(folder / "out", "test"), 1, audio_format)
    sounds = []
    for index in range(len(rolls)):
        sound, rate = soundfile.read(folder / "out" / "AB"[index % 2] / f"{index:03d}.{audio_format}", always_2d=True)
        assert rate == RATE
        sounds.append(sound)
    return sounds


def loudest(sound: np.ndarray, start_s: float, stop_s: float) -> float:
    return float(np.abs(sound[int(start_s * RATE) : int(stop_s * RATE)]).max())


def pitch_hz(sound: np.ndarray) -> float:
    left = sound[:, 0] * np.hanning(len(sound))
    return float(np.argmax(np.abs(np.fft.rfft(left, 1 << 18))) * RATE / (1 << 18))


def test_notes_sound_at_their_pitches_from_their_starts_to_their_ends(tmp_path: Path) -> None:
    (sound,) = export(tmp_path, two_notes())
    assert len(sound) == pytest.approx((2 + 2) * RATE, abs=RATE / 10)  # two seconds of release
    assert loudest(sound, 0, 0.49) < AUDIBLE / 100
    for start, hz in ((0.5, 220), (1.5, 440)):
        assert loudest(sound, start, start + 0.1) > AUDIBLE
        assert loudest(sound, start + 0.8, start + 0.99) < loudest(sound, start, start + 0.1) / 5
        assert pitch_hz(sound[int(start * RATE) : int((start + 0.5) * RATE)]) == pytest.approx(hz, rel=0.01)
    assert loudest(sound, 3.9, 4) < AUDIBLE / 10


def test_sound_of_a_roll_that_begins_within_a_bar_begins_with_the_roll(tmp_path: Path) -> None:
    within_a_bar = replace(two_notes(), bar_position=equal_bars(16, 16, first=12))
    first, second = export(tmp_path, two_notes(), within_a_bar)
    np.testing.assert_array_equal(first, second)


def test_silent_roll_is_silent_and_all_keys_are_not_clipped(tmp_path: Path) -> None:
    silent, loud = export(tmp_path, roll_of(np.full((16, 88), SILENT)), all_keys())
    assert not silent.any()
    assert AUDIBLE < np.abs(loud).max() < 0.99


def test_flac_has_the_samples_of_wav(tmp_path: Path) -> None:
    for name in AudioFormat:
        (tmp_path / name).mkdir()
    (wav,), (flac,) = (export(tmp_path / name, two_notes(), audio_format=name) for name in (AudioFormat.WAV, AudioFormat.FLAC))
    np.testing.assert_array_equal(wav, flac)
    wav_bytes, flac_bytes = ((tmp_path / name / "out" / "A" / f"000.{name}").stat().st_size for name in AudioFormat)
    assert flac_bytes < wav_bytes / 2


def test_missing_sound_files_are_added_to_a_folder(tmp_path: Path) -> None:
    store = store_of(tmp_path / "corpus.h5", [made_roll(1, 20), made_roll(2, 20)], [Split.NONE] * 2)
    out = tmp_path / "out"
    midi_files.write_folder([store], OutputFolder(out, "test"), 1)
    assert not list(out.rglob("*.wav"))
    midi = {path: path.read_bytes() for path in out.rglob("*.mid")}
    midi_files.write_folder([store], OutputFolder(out, "test"), 1, AudioFormat.WAV)
    assert sorted(path.stem for path in out.rglob("*.wav")) == ["000", "001"]
    assert {path: path.read_bytes() for path in out.rglob("*.mid")} == midi


def test_archive_has_the_sound_files_that_were_requested(tmp_path: Path) -> None:
    store = store_of(tmp_path / "corpus.h5", [made_roll(1, 20), made_roll(2, 20)], [Split.NONE] * 2)
    target = tmp_path / "corpus.zip"
    midi_files.write_archive(store, target, 1)
    with pytest.raises(PianogenError, match=r"corpus\.zip was exported without flac files; remove it and decode again"):
        midi_files.write_archive(store, target, 1, AudioFormat.FLAC)
    target.unlink()
    midi_files.write_archive(store, target, 1, AudioFormat.FLAC)
    midi_files.write_archive(store, target, 1, AudioFormat.FLAC)
    with ZipFile(target) as archive:
        sound, _ = soundfile.read(io.BytesIO(archive.read("A/000.flac")))
    assert np.abs(sound).max() > AUDIBLE


def test_extreme_tempos_are_rendered_and_pieces_of_hours_are_refused(tmp_path: Path) -> None:
    (fast,) = export(tmp_path, roll_of(made_roll(1, 40).states, tempo_us=1))
    assert len(fast) == pytest.approx(2 * RATE, abs=RATE / 10)
    slow = store_of(tmp_path / "slow.h5", [roll_of(made_roll(1, 1_000).states, tempo_us=15_000_000)], [Split.NONE])
    message = r"slow\.h5: A/000\.mid: the piece lasts 62 minutes, and sound files are limited to 30; decode it without --audio"
    with pytest.raises(PianogenError, match=message):
        midi_files.write_folder([slow], OutputFolder(tmp_path / "slow", "test"), 1, AudioFormat.WAV)


def test_command_writes_sound_files(tmp_path: Path) -> None:
    store = store_of(tmp_path / "corpus.h5", [made_roll(1, 20)], [Split.NONE])
    arguments = [str(store), "--cluster", "debug", "--out", str(tmp_path / "out"), "--audio"]
    assert command.run(decode.main, arguments) == 0
    assert command.run(decode.main, [*arguments, "--audio-format", "flac"]) == 0
    assert sorted(path.suffix for path in (tmp_path / "out" / "A").iterdir()) == [".flac", ".mid", ".png", ".wav"]


@pytest.mark.parametrize("package", ["midirenderer", "soundfile"])
def test_missing_package_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str
) -> None:
    store = store_of(tmp_path / "corpus.h5", [made_roll(1, 20)], [Split.NONE])
    monkeypatch.setitem(sys.modules, package, None)
    assert command.run(decode.main, [str(store), "--cluster", "debug", "--audio"]) == 2
    assert f"not installed: {package}; install them with pip install '.[audio]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [store]
    assert command.run(decode.main, [str(store), "--cluster", "debug"]) == 0


def test_format_without_audio_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(tmp_path / "corpus.h5", [made_roll(1, 20)], [Split.NONE])
    assert command.run(decode.main, [str(store), "--audio-format", "flac"]) == 2
    assert "--audio-format applies only to --audio; add --audio" in capsys.readouterr().err
