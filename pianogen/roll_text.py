"""Rolls as compact text, which the report draws and plays; jobs/report/assets/roll.js reads it."""

import numpy as np

from pianogen.roll import Roll, notes

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BITS, _MORE = 5, 32  # each digit holds 5 bits of a value, the lowest first; 32 is added unless the digit is the last one
_MAX_DIGITS = 7  # 35 bits


def encode_roll(roll: Roll) -> str:
    """A roll as numbers in base 64, one character for a number below 32: three or four per note.

    The numbers are those of steps and of steps per quarter note, and then three lists, each after its length:
    notes (steps since the previous onset, duration in steps, difference to the previous key in zigzag encoding), tempo changes
    (steps since the previous change, microseconds per quarter note) and bar lines (steps since the previous one). As in a MIDI
    file, a hold that does not continue a note is silent.
    """
    onset, end, key = notes(roll.states).T
    key_difference = np.diff(key, prepend=0)
    zigzag = np.where(key_difference < 0, -2 * key_difference - 1, 2 * key_difference)
    tempo_us = roll.tempo_us.astype(np.int64)
    tempo_change = np.flatnonzero(np.diff(tempo_us, prepend=0))
    lists = [
        np.stack([np.diff(onset, prepend=0), end - onset, zigzag], axis=1),
        np.stack([np.diff(tempo_change, prepend=0), tempo_us[tempo_change]], axis=1),
        np.diff(np.flatnonzero(roll.bar_position == 0), prepend=0),
    ]
    numbers = [np.array([len(roll), roll.steps_per_quarter])]
    for entries in lists:
        numbers += [np.array([len(entries)]), entries.ravel()]
    return _in_base_64(np.concatenate(numbers))


def _in_base_64(numbers: np.ndarray) -> str:
    """(N,) int64 numbers from 0 to 2**35 - 1 as text."""
    remaining = numbers[:, np.newaxis] >> _BITS * np.arange(_MAX_DIGITS)
    is_digit = remaining > 0
    is_digit[:, 0] = True
    digits = remaining % _MORE + _MORE * (remaining >= _MORE)
    return np.frombuffer(DIGITS.encode(), np.uint8)[digits[is_digit]].tobytes().decode()
