"""Windows and their contexts, computed one number after another from the definitions in `pianogen.window`."""

import math

import numpy as np

from pianogen.roll import DEFAULT_TEMPO_US, HOLD, NUM_KEYS, ONSET, SILENT, Roll, pack
from pianogen.window import PROFILE_DECAYS, Context, Window


class PieceOracle:
    """The windows of one piece."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll
        self._states = [[int(state) for state in row] for row in roll.states]
        self._matches = [longest_match(self._states, step) for step in range(len(roll))]

    def window(self, step: int, num_rows: int, semitones: int = 0) -> Window:
        """The window, without a batch axis, that predicts `num_rows` rows from a step on."""
        rows = range(step - 1, step + num_rows)
        tempos = [int(self._roll.tempo_us[row]) if self._exists(row) else DEFAULT_TEMPO_US for row in rows]
        matches = [self._matches[row] if self._exists(row) else (0, 0) for row in rows[1:]]
        followed = [self._states_of(row) if num_equal else [SILENT] * NUM_KEYS for row, num_equal in matches]
        context = Context(
            step=step,
            bars=sum(int(position) == 0 for position in self._roll.bar_position[:step]),
            semitones=semitones,
            match=pack(np.array([moved(states, semitones, SILENT) for states in followed])),
            match_steps=np.array([num_equal for _, num_equal in matches]),
            match_distance=np.array(
                [row - followed if num else 0 for row, (followed, num) in zip(rows[1:], matches, strict=True)]
            ),
            since_onset=np.array(moved([self._since_onset(step, key) for key in range(NUM_KEYS)], semitones, 255)),
            duration=np.array(moved([self._duration(step, key) for key in range(NUM_KEYS)], semitones, 0)),
            profile=np.array([self._profile(step, decay, semitones) for decay in PROFILE_DECAYS]),
        )
        packed = pack(np.array([moved(self._states_of(row), semitones, SILENT) for row in rows]))
        positions = [int(self._roll.bar_position[row]) if self._exists(row) else 0 for row in rows]
        return Window(packed, np.array(tempos), np.array(positions), context)

    def keys(self, step: int, num_rows: int, with_matches: bool) -> list[int]:
        """The keys that sound in the rows of a window, and in the rows of its matches."""
        rows = list(range(step - 1, step + num_rows))
        if with_matches:
            rows += [self._matches[row][0] for row in rows[1:] if self._exists(row) and self._matches[row][1]]
        return sorted({key for row in rows for key, state in enumerate(self._states_of(row)) if state != SILENT})

    def _exists(self, row: int) -> bool:
        return 0 <= row < len(self._roll)

    def _states_of(self, row: int) -> list[int]:
        return self._states[row] if self._exists(row) else [SILENT] * NUM_KEYS

    def _since_onset(self, step: int, key: int) -> int:
        return next((age for age in range(1, min(step, 255) + 1) if self._states_of(step - age)[key] == ONSET), 255)

    def _duration(self, step: int, key: int) -> int:
        steps = 0
        while steps < step and self._states_of(step - 1 - steps)[key] == HOLD:
            steps += 1
        if steps < step and self._states_of(step - 1 - steps)[key] == ONSET:
            steps += 1
        return min(steps, 255)

    def _profile(self, step: int, decay: float, semitones: int) -> list[float]:
        sums = [0.0] * 12
        for row in range(step):
            for key, state in enumerate(self._states_of(row)):
                if state == ONSET:
                    sums[(key + semitones) % 12] += math.exp(-(step - 1 - row) / decay)
        return sums


def longest_match(rows: list[list[int]], step: int) -> tuple[int, int]:
    """The earlier step before which the most rows equal those before `step`, the latest one of several, and their number."""
    best = (0, 0)
    for earlier in range(1, step):
        num_equal = 0
        while num_equal < earlier and rows[earlier - 1 - num_equal] == rows[step - 1 - num_equal]:
            num_equal += 1
        if num_equal > 0 and num_equal >= best[1]:
            best = (earlier, num_equal)
    return best


def moved(values: list[int], semitones: int, outside: int) -> list[int]:
    """The values of 88 keys after a transposition; keys that come in from outside of the keyboard get `outside`."""
    return [values[key - semitones] if 0 <= key - semitones < NUM_KEYS else outside for key in range(NUM_KEYS)]


def possible_semitones(keys: list[int], max_semitones: int) -> list[int]:
    """The transpositions that keep all keys on the keyboard; none of silence."""
    if not keys:
        return [0]
    return [n for n in range(-max_semitones, max_semitones + 1) if keys[0] + n >= 0 and keys[-1] + n < NUM_KEYS]
