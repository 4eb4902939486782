"""The likelihood of the joint model, computed with NumPy one row, key and decision after another, from the description in
docs/music.md."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from pianogen.models.joint.rows import PITCH_CLASSES
from pianogen.roll import DEFAULT_TEMPO_US, HOLD, ONSET, SILENT, Roll
from pianogen.window import PROFILE_DECAYS
from tests.support.window_oracle import PieceOracle

State = tuple[np.ndarray, np.ndarray]  # output and cell state of an LSTM


class JointReference:
    """A joint model with LSTM cells.

    Args:
        model: its weights are read in their order.
        keys: the keys in use.
        copy, head, body: the settings of the model.
    """

    def __init__(
        self,
        model: keras.Model,
        keys: range,
        steps_per_quarter: int,
        *,
        copy: bool = True,
        head: str = "two_stage",
        body: str = "tied",
    ) -> None:
        self._keys, self._steps_per_quarter, self._copy, self._head, self._is_tied = (
            keys,
            steps_per_quarter,
            copy,
            head,
            body == "tied",
        )
        weights: Iterator[np.ndarray] = (weight.numpy().astype(float) for weight in model.weights)

        def take(num: int) -> list[np.ndarray]:
            return [next(weights) for _ in range(num)]

        self._features, self._lstm, self._dense = take(7 if self._is_tied else 0), take(3), take(0 if self._is_tied else 2)
        self._stages = [take(9), take(13)] if head == "two_stage" else [take(11)]
        self._tempo_lstm, self._tempo_hidden, self._tempo_output = take(3), take(2), take(2)
        if next(weights, None) is not None:
            raise ValueError("the model has other weights")

    def log_likelihoods(self, piece: Roll, first: int, num_rows: int, semitones: int = 0) -> np.ndarray:
        """(num_rows, 2) log probabilities of the keys and of the tempo of a window of a piece."""
        oracle = PieceOracle(piece)
        state = _no_state(self._lstm, len(self._keys) if self._is_tied else 1)
        tempo_state, likelihoods = _no_state(self._tempo_lstm, 1), []
        for step in range(first, first + num_rows):
            row = _Row(oracle.window(step, 1, semitones), self._steps_per_quarter)
            if self._is_tied:
                features = np.array([self._key_features(row, index) for index in range(len(self._keys))])
                state = _lstm(features, state, self._lstm)
                key_units = features + state[0]
            else:
                state = _lstm(self._row_features(row)[np.newaxis], state, self._lstm)
                key_units = _linear(state[0], self._dense).reshape(len(self._keys), -1)
            previous_us = None if step == first else int(piece.tempo_us[step - 2]) if step > 1 else DEFAULT_TEMPO_US
            tempo_state = _lstm(row.tempo_features(previous_us)[np.newaxis], tempo_state, self._tempo_lstm)
            likelihoods.append((self._keys_likelihood(row, key_units), self._tempo_likelihood(row, tempo_state[0][0])))
        return np.array(likelihoods)

    def _key_features(self, row: "_Row", index: int) -> np.ndarray:
        neighbours, own, pitch_classes, step, step_bias, key_table, pitch_class_table = self._features
        key = self._keys[index]
        units = row.step_features(self._copy) @ step + step_bias + key_table[index]
        units = units + pitch_class_table[(key - row.semitones) % PITCH_CLASSES]
        for distance in range(-12, 13):
            if 0 <= index + distance < len(self._keys):
                units = units + row.channels(key + distance, self._copy) @ neighbours[12 + distance]
        sounding = [row.before[other] != SILENT for other in self._keys]
        below, above = sum(sounding[:index]), sum(sounding[index + 1 :])
        units = units + np.concatenate([_count(below, 5), _count(above, 5), [math.log1p(row.since[key]) / 5]]) @ own
        for numbers, kernel in zip(row.pitch_classes(), pitch_classes, strict=True):
            for pitch_class in range(PITCH_CLASSES):
                units = units + numbers[pitch_class] * kernel[(pitch_class - key) % PITCH_CLASSES]
        return np.asarray(np.maximum(units, 0))

    def _row_features(self, row: "_Row") -> np.ndarray:
        channels = [row.channels(key, self._copy) for key in self._keys]
        return np.concatenate([*channels, row.pitch_classes().ravel(), row.step_features(self._copy)])

    def _keys_likelihood(self, row: "_Row", key_units: np.ndarray) -> float:
        states, sounding = ([values[key] for key in self._keys] for values in (row.states, row.before > SILENT))
        total = _unused_likelihood(row, self._keys)
        for index, state in enumerate(states):
            if self._head == "one_pass":
                onset, hold = self._one_pass_logits(row, key_units, index, states, sounding)
                logits = np.array([0.0, onset, hold if sounding[index] else -np.inf])
                total += logits[state] - np.log(np.exp(logits).sum())
                continue
            if sounding[index]:
                total += _log_sigmoid(self._hold_logit(row, key_units, index, states, sounding), state == HOLD)
            if state != HOLD:
                total += _log_sigmoid(self._onset_logit(row, key_units, index, states, sounding), state == ONSET)
        return float(total)

    def _hold_logit(
        self, row: "_Row", key_units: np.ndarray, index: int, states: Sequence[int], sounding: Sequence[bool]
    ) -> float:
        kernel, bias, below, *tables, block, block_bias, logit, logit_bias = self._stages[0]
        units = key_units[index] @ kernel + bias + self._tables(row, index, *tables)
        for other in range(max(0, index - 36), index):
            held = states[other] == HOLD
            units = units + np.array([held, sounding[other] and not held]) @ below[36 + other - index]
        return float(_blocks(units, [(block, block_bias)], logit, logit_bias)[0])

    def _onset_logit(
        self, row: "_Row", key_units: np.ndarray, index: int, states: Sequence[int], sounding: Sequence[bool]
    ) -> float:
        kernel, bias, below, holds, counts, *tables, one, one_bias, two, two_bias, logit, logit_bias = self._stages[1]
        units = key_units[index] @ kernel + bias + self._tables(row, index, *tables)
        held = [state == HOLD for state in states]
        ends = [sounds and not holds for sounds, holds in zip(sounding, held, strict=True)]
        for other in range(max(0, index - 36), index):
            units = units + (states[other] == ONSET) * below[36 + other - index, 0]
        for other in range(max(0, index - 24), min(len(states), index + 25)):
            units = units + np.array([held[other], ends[other]]) @ holds[24 + other - index]
        units = units + np.concatenate([_count(sum(held), 7), _count(sum(ends), 7)]) @ counts
        return float(_blocks(units, [(one, one_bias), (two, two_bias)], logit, logit_bias)[0])

    def _one_pass_logits(
        self, row: "_Row", key_units: np.ndarray, index: int, states: Sequence[int], sounding: Sequence[bool]
    ) -> np.ndarray:
        kernel, bias, below, *tables, one, one_bias, two, two_bias, logit, logit_bias = self._stages[0]
        units = key_units[index] @ kernel + bias + self._tables(row, index, *tables)
        for other in range(max(0, index - 36), index):
            state = states[other]
            channels = [state == ONSET, state == HOLD, sounding[other] and state == SILENT]
            units = units + np.array(channels) @ below[36 + other - index]
        return _blocks(units, [(one, one_bias), (two, two_bias)], logit, logit_bias)

    def _tables(self, row: "_Row", index: int, key: np.ndarray, pitch_class: np.ndarray) -> np.ndarray:
        return np.asarray(key[index] + pitch_class[(self._keys[index] - row.semitones) % PITCH_CLASSES])

    def _tempo_likelihood(self, row: "_Row", units: np.ndarray) -> float:
        num_onsets, num_sounding = (row.states == ONSET).sum(), (row.states != SILENT).sum()
        units = np.concatenate([units, [num_onsets / 4, min(num_onsets, 1), num_sounding / 8]])
        values = _linear(np.maximum(_linear(units, self._tempo_hidden), 0), self._tempo_output)
        weights, means, scales = np.exp(values[1:6]), values[6:11] + np.arange(-2, 3), np.exp(np.clip(values[11:] - 1, -5, 1))
        if row.tempo_us == row.tempo_before_us:
            return _log_sigmoid(values[0], True)
        change = math.asinh((_octaves(row.tempo_us) - _octaves(row.tempo_before_us)) / 0.02)
        deviation = np.exp(-(change - means) / scales)
        density = deviation / scales / (1 + deviation) ** 2
        return _log_sigmoid(values[0], False) + math.log((weights * density).sum() / weights.sum())


class _Row:
    """A row and what is known before it, from a window of one row."""

    def __init__(self, window: Any, steps_per_quarter: int) -> None:
        context = window.context
        bits = np.unpackbits(window.packed, axis=1).reshape(2, 2, 88)
        self.before, self.states = bits[:, 0] * ONSET + bits[:, 1] * HOLD
        match = np.unpackbits(context.match[0]).reshape(2, 88)
        self._match, self._match_steps, self._distance = match, int(context.match_steps[0]), int(context.match_distance[0])
        self.since, self._duration, self._profile = context.since_onset, context.duration, context.profile
        self.semitones, self._step = context.semitones, context.step
        self.tempo_before_us, self.tempo_us = (int(us) for us in window.tempo_us)
        self._position, self._steps_per_quarter = int(window.bar_position[1]), steps_per_quarter
        self._bar = context.bars - 1 + (self._position == 0)

    def channels(self, key: int, copy: bool) -> np.ndarray:
        state = self.before[key]
        channels = [state == ONSET, state == HOLD, math.log1p(self._duration[key]) / 4, math.exp(-int(self.since[key]) / 8)]
        return np.array([*channels, *(self._match[:, key] if copy else ())], float)

    def pitch_classes(self) -> np.ndarray:
        sounding = np.bincount(np.flatnonzero(self.before) % PITCH_CLASSES, minlength=PITCH_CLASSES) / 2
        return np.vstack([sounding, self._profile * (4 / np.array(PROFILE_DECAYS))[:, np.newaxis]])

    def meter(self) -> np.ndarray:
        quarter = self._steps_per_quarter
        return np.concatenate([_one_hot(self._position, 6 * quarter), _one_hot(self._position % quarter, quarter)])

    def step_features(self, copy: bool) -> np.ndarray:
        num_sounding, num_onsets, length = (self.before != SILENT).sum(), (self.before == ONSET).sum(), self._match_steps
        numbers = [self._step == 0, math.log1p(min(self.since)) / 5, _octaves(self.tempo_before_us) / 2]
        distance: list[np.ndarray] = []
        if copy:
            numbers += [min(length, 1), min(length, 32) / 32, math.log1p(length) / 4]
            distance = [_one_hot(min(10, self._distance.bit_length()), 11)]
        counts = [_one_hot(self._bar % 4, 4), _count(num_sounding, 8), _count(num_onsets, 6)]
        return np.concatenate([*distance, self.meter(), *counts, np.array(numbers, float)])

    def tempo_features(self, previous_us: int | None) -> np.ndarray:
        octaves = _octaves(self.tempo_before_us)
        change = 0.0 if previous_us is None else math.asinh((octaves - _octaves(previous_us)) / 0.02)
        counts = [(self.before == ONSET).sum() / 4, (self.before != SILENT).sum() / 8]
        return np.concatenate([[octaves, change, self._step == 0, *counts], self.meter()])


def _unused_likelihood(row: _Row, keys: range) -> float:
    total = 0.0
    for key in set(range(88)) - set(keys):
        if row.before[key] != SILENT:
            total += math.log(0.5)
        if row.states[key] != HOLD:
            total += math.log(1e-6 if row.states[key] == ONSET else 1 - 1e-6)
    return total


def _octaves(tempo_us: int) -> float:
    return math.log2(DEFAULT_TEMPO_US / tempo_us)


def _one_hot(index: int, size: int) -> np.ndarray:
    return np.asarray(np.arange(size) == index, float)


def _count(count: int, most: int) -> np.ndarray:
    return _one_hot(min(int(count), most), most + 1)


def _linear(units: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    kernel, bias = weights
    return np.asarray(units @ kernel + bias)


def _blocks(
    units: np.ndarray, blocks: Sequence[tuple[np.ndarray, np.ndarray]], logit: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    units = np.maximum(units, 0)
    for block in blocks:
        units = units + np.maximum(_linear(units, block), 0)
    return _linear(units, (logit, bias))


def _log_sigmoid(logit: float, is_one: bool) -> float:
    return -math.log1p(math.exp(-logit if is_one else logit))


def _no_state(weights: Sequence[np.ndarray], num: int) -> State:
    zeros = np.zeros((num, weights[1].shape[0]))
    return zeros, zeros


def _lstm(rows: np.ndarray, state: State, weights: Sequence[np.ndarray]) -> State:
    kernel, recurrent_kernel, bias = weights
    output, cell_state = state
    gates = np.split(rows @ kernel + output @ recurrent_kernel + bias, 4, axis=-1)
    input_gate, forget_gate, output_gate = (1 / (1 + np.exp(-gates[index])) for index in (0, 1, 3))
    cell_state = forget_gate * cell_state + input_gate * np.tanh(gates[2])
    return output_gate * np.tanh(cell_state), cell_state
