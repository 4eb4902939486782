"""Sound files of rolls: a SoundFont synthesizer plays their MIDI files. Needs the packages of the extra `audio`."""

import functools
import io
from enum import StrEnum
from importlib.resources import files
from importlib.util import find_spec

import numpy as np

from pianogen.errors import PianogenError, UsageError
from pianogen.roll import DEFAULT_TEMPO_US, PACKED_BYTES, US_PER_MINUTE, Roll, equal_bars

_PACKAGES = ("midirenderer", "soundfile")
_SOUND = "florestan-piano.sf2"  # docs/audio.md: origin and license
_MAX_MIN = 30  # 1.3 GB of memory in a process
_RELEASE_US = 2_000_000  # time in which the last notes fade


class AudioFormat(StrEnum):
    """The formats of sound files; the value is the suffix."""

    WAV = "wav"
    FLAC = "flac"


def check_installed() -> None:
    """Checks that the packages for sound files are installed.

    Raises:
        UsageError: a package is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--audio needs the packages {' and '.join(_PACKAGES)}; not installed: {', '.join(missing)}; install them "
            "with pip install '.[audio]'"
        )


def with_release(roll: Roll) -> Roll:
    """The roll and two seconds of silence after it.

    Raises:
        PianogenError: the roll is too long for a sound file.
    """
    duration_min = roll.tempo_us.sum(dtype=np.int64) / roll.steps_per_quarter / US_PER_MINUTE
    if duration_min > _MAX_MIN:
        raise PianogenError(
            f"the piece lasts {duration_min:.0f} minutes, and sound files are limited to {_MAX_MIN}; decode it without --audio"
        )
    num_steps = _RELEASE_US * roll.steps_per_quarter // DEFAULT_TEMPO_US  # the tempo of the roll may be extreme
    return Roll(
        np.concatenate([roll.packed, np.zeros((num_steps, PACKED_BYTES), np.uint8)]),
        np.concatenate([roll.tempo_us, np.full(num_steps, DEFAULT_TEMPO_US, np.uint32)]),
        # Bars from the first step on: the MIDI file of a roll that begins within a bar begins with silence.
        equal_bars(len(roll) + num_steps, 4 * roll.steps_per_quarter),
        steps_per_quarter=roll.steps_per_quarter,
    )


def render(midi: bytes, audio_format: AudioFormat) -> bytes:
    """The sound file of a MIDI file: 48 kHz, 16 bits, stereo."""
    import midirenderer
    import soundfile

    wav = bytes(midirenderer.render_wave_from(_read_sound(), midi))
    if audio_format is AudioFormat.WAV:
        return wav
    target = io.BytesIO()
    with soundfile.SoundFile(io.BytesIO(wav)) as source:
        rate, channels = source.samplerate, source.channels
        with soundfile.SoundFile(target, "w", rate, channels, source.subtype, format=audio_format.name) as encoder:
            for block in source.blocks(blocksize=rate, dtype="int16"):
                encoder.write(block)
    return target.getvalue()


@functools.cache
def _read_sound() -> bytes:
    return (files("jobs.export") / "sounds" / _SOUND).read_bytes()
