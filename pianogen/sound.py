"""The sound of a roll: a simple piano, computed with NumPy, to hear a sample without other software."""

import functools
import io
import wave

import numpy as np

from pianogen.roll import LOWEST_KEY, Roll, notes

SAMPLE_RATE = 24_000
_A4_HZ, _A4_NUMBER = 440.0, 69
_MIDDLE_KEY = 39  # C4
_MAX_PARTIALS, _MAX_PARTIAL_HZ = 24, 8_000.0
_HAMMER_POSITION = 1 / 8  # of the string: partials with a node there are not excited
_SOFTNESS_HZ = 2_500.0  # the felt of the hammer attenuates higher partials
_INAUDIBLE = 7.0  # time constants until a decay reaches -60 dB
_MAX_STRING_S = 5.0
_RELEASE_S = 0.07  # time constant of the damper
_PEAK = 0.9
_US_PER_S = 1e6
_BLOCK = 256


def beginning(roll: Roll, max_s: float) -> Roll:
    """The rows of a roll that end within a time, at least one: the sound of a long roll does not fit into memory."""
    ends_s = np.cumsum(roll.tempo_us / _US_PER_S / roll.steps_per_quarter)
    return roll.rows(0, max(1, int(np.searchsorted(ends_s, max_s, side="right"))))


def wav(roll: Roll) -> bytes:
    """The content of a WAV file: 16 bits, one channel, 24,000 samples per second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(np.rint(render(roll) * 32_767).astype("<i2").tobytes())
    return file.getvalue()


def render(roll: Roll) -> np.ndarray:
    """(N,) float32 samples from -1 to 1. The loudest sample is 0.9, unless the roll is silent."""
    step_s = roll.tempo_us / _US_PER_S / roll.steps_per_quarter
    times = np.rint(np.append(0, np.cumsum(step_s)) * SAMPLE_RATE).astype(np.int64)
    release = np.exp(-np.arange(round(_INAUDIBLE * _RELEASE_S * SAMPLE_RATE)) / (_RELEASE_S * SAMPLE_RATE))
    sound = np.zeros(int(times[-1]) + len(release), np.float32)
    for onset, end, key in notes(roll.states).tolist():
        duration = int(times[end] - times[onset])
        note = _string(key)[: duration + len(release)].copy()
        damped = note[duration:]  # empty if the string has decayed before its note ends
        damped *= release[: len(damped)]
        sound[times[onset] : times[onset] + len(note)] += note
    peak = np.abs(sound).max()
    return np.asarray(sound * np.float32(_PEAK / peak)) if peak > 0 else sound


@functools.cache
def _string(key: int) -> np.ndarray:
    """(N,) float32, the sound of a key that is not released. Low keys decay in seconds, high keys in tenths of a second."""
    pitch_hz = _A4_HZ * 2 ** ((key + LOWEST_KEY - _A4_NUMBER) / 12)
    decay_s = 3.2 * np.exp(-key / 28)
    partial = np.arange(1, _MAX_PARTIALS + 1)
    inharmonicity = 0.0003 * 2 ** ((key - _MIDDLE_KEY) / 10)  # stiffness sharpens the partials, most in the treble
    hz = partial * pitch_hz * np.sqrt(1 + inharmonicity * partial**2)
    strength = np.abs(np.sin(np.pi * partial * _HAMMER_POSITION)) / partial * np.exp(-hz / _SOFTNESS_HZ)
    is_heard = (hz <= _MAX_PARTIAL_HZ) | (partial == 1)
    # The samples of a partial are the powers of a complex number: of a multiple of the block, times those of one block.
    power = np.exp((2j * np.pi * hz - (0.7 + 0.3 * partial) / decay_s) / SAMPLE_RATE)[is_heard]
    num = round(min(_INAUDIBLE * decay_s, _MAX_STRING_S) * SAMPLE_RATE)
    blocks = power ** np.arange(0, num, _BLOCK)[:, None]
    sound = ((strength[is_heard] * blocks) @ (power[:, None] ** np.arange(_BLOCK))).imag.ravel()[:num]
    return np.asarray(sound / np.sqrt(np.mean(sound[: SAMPLE_RATE // 5] ** 2)), np.float32)
