"""Metrics of music: properties of a roll, as distributions over fixed bins. docs/metrics.md has their sources.

A metric gives values for a roll: one value, such as the share of silent steps, or one for each of its notes, onsets or steps.
Lengths and times are in steps of the default resolution, which are sixteenth notes, whatever the resolution of the roll.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pianogen.roll import LOWEST_KEY, NUM_KEYS, PACKED_BYTES, SILENT, STEPS_PER_QUARTER, US_PER_MINUTE, Roll, notes, sixteenths

_PITCH_CLASSES = 12
_MAJOR_SCALE = np.isin(np.arange(_PITCH_CLASSES), (0, 2, 4, 5, 7, 9, 11))  # a minor scale has the notes of a major one
_LARGEST_LEAP = 24  # two octaves
_ONSET_BYTES = PACKED_BYTES // 2


class RollContent:
    """The properties of a roll that several metrics read; each is computed once."""

    def __init__(self, roll: Roll) -> None:
        self.roll = roll
        self.states = roll.states
        self.notes = notes(self.states)
        self.scale = STEPS_PER_QUARTER / roll.steps_per_quarter  # sixteenth notes per row

    @cached_property
    def onset_steps(self) -> np.ndarray:
        """(O,) steps with onsets, ascending."""
        return np.unique(self.notes[:, 0])

    @cached_property
    def pitch_class_counts(self) -> np.ndarray:
        """(12,) notes of each pitch class, from C."""
        return np.bincount((self.notes[:, 2] + LOWEST_KEY) % _PITCH_CLASSES, minlength=_PITCH_CLASSES)

    @cached_property
    def bars(self) -> list[np.ndarray]:
        """The packed rows of each bar; those before the first bar line belong to none."""
        return np.split(self.roll.packed, np.flatnonzero(self.roll.bar_position == 0))[1:]

    def bar_pairs(self, distance: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """The onset bytes of all pairs of bars of one length that are some number of bars apart."""
        for first, second in zip(self.bars, self.bars[distance:], strict=False):
            if len(first) == len(second):
                yield first[:, :_ONSET_BYTES], second[:, :_ONSET_BYTES]


Values = Callable[[RollContent], Sequence[float] | np.ndarray]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and its bins; values outside of the bins belong to the first or the last one.

    Attributes:
        name: identifies the metric.
        title: as shown to people.
        unit: of the values; '' for numbers and shares.
        definition: what the values are.
        values: the values of a roll, none if the roll does not determine the metric.
        low: lower edge of the first bin.
        width: of a bin.
        num_bins: number of bins.
        is_ordered: whether values have an order. The bins of other metrics are classes, which are equally far from each other.
    """

    name: str
    title: str
    unit: str
    definition: str
    values: Values
    low: float
    width: float
    num_bins: int
    is_ordered: bool = True

    @property
    def edges(self) -> np.ndarray:
        """(num_bins + 1,) edges of the bins."""
        return self.low + self.width * np.arange(self.num_bins + 1)

    @property
    def has_integers(self) -> bool:
        """Whether each bin is that of an integer, which is its middle."""
        return self.width == 1 and self.low % 1 == 0.5

    def histogram(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """(num_bins,) share of the values in each bin; at least one value."""
        # A value on an edge belongs to the bin above it, whatever the rounding of the division.
        index = np.floor((np.asarray(values) - self.low) / self.width + 1e-9).astype(np.int64)
        counts = np.bincount(np.clip(index, 0, self.num_bins - 1), minlength=self.num_bins)
        return np.asarray(counts / counts.sum())

    def distance(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The Wasserstein-1 distances of distributions over the bins: in the unit of the metric, or from 0 to 1 for classes.

        If every two classes are equally far apart, this is the total variation distance.

        Args:
            first: (..., num_bins).
            second: (..., num_bins).
        """
        difference = first - second
        if self.is_ordered:
            return np.asarray(self.width * np.abs(np.cumsum(difference, axis=-1)).sum(axis=-1))
        return np.asarray(np.abs(difference).sum(axis=-1) / 2)


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The overlap area of distributions over (..., num_bins): 1 if they are equal, 0 if they have no bin in common."""
    return np.asarray(np.minimum(first, second).sum(axis=-1))


def _notes_per_step(content: RollContent) -> list[float]:
    return [len(content.notes) / (len(content.roll) * content.scale)]


def _keys_sounding(content: RollContent) -> list[float]:
    return [float((content.states != SILENT).sum() / len(content.roll))]


def _silent_steps(content: RollContent) -> list[float]:
    return [float((content.states == SILENT).all(axis=1).mean())]


def _pitches(content: RollContent) -> np.ndarray:
    return np.asarray(content.notes[:, 2] + LOWEST_KEY)


def _pitch_range(content: RollContent) -> list[float]:
    keys = content.notes[:, 2]
    return [float(np.ptp(keys))] if len(keys) else []


def _pitch_class_entropy(content: RollContent) -> list[float]:
    counts = content.pitch_class_counts[content.pitch_class_counts > 0]
    share = counts / counts.sum()
    return [float(-(share * np.log2(share)).sum())] if len(counts) else []


def _note_lengths(content: RollContent) -> np.ndarray:
    return np.asarray((content.notes[:, 1] - content.notes[:, 0]) * content.scale)


def _inter_onset_intervals(content: RollContent) -> np.ndarray:
    return np.asarray(np.diff(content.onset_steps) * content.scale)


def _bar_positions(content: RollContent) -> np.ndarray:
    return np.asarray(content.roll.bar_position[content.notes[:, 0]] * content.scale)


def _successive_intervals(content: RollContent) -> np.ndarray:
    is_highest = np.append(np.diff(content.notes[:, 0]) > 0, True)[: len(content.notes)]  # the last note of each onset step
    return np.diff(content.notes[is_highest, 2])


def _simultaneous_intervals(content: RollContent) -> np.ndarray:
    sounding = content.states[content.onset_steps] != SILENT
    counts = [np.count_nonzero(sounding[:, :-semitones] & sounding[:, semitones:]) for semitones in range(1, NUM_KEYS)]
    return np.repeat(np.arange(1, NUM_KEYS) % _PITCH_CLASSES, counts)


def _scale_consistency(content: RollContent) -> list[float]:
    counts = content.pitch_class_counts
    if not counts.any():
        return []
    return [max(float(counts[np.roll(_MAJOR_SCALE, root)].sum() / counts.sum()) for root in range(_PITCH_CLASSES))]


def _groove_similarity(content: RollContent) -> list[float]:
    def positions(onset_bytes: np.ndarray) -> np.ndarray:
        return sixteenths(np.asarray(onset_bytes.any(axis=1)), content.roll.steps_per_quarter, np.logical_or)

    similarities = [float((positions(a) == positions(b)).mean()) for a, b in content.bar_pairs(1)]
    return [float(np.mean(similarities))] if similarities else []


def _self_similarity(distance: int) -> Values:
    def values(content: RollContent) -> list[float]:
        pairs = [(int(np.bitwise_count(a & b).sum()), int(np.bitwise_count(a | b).sum())) for a, b in content.bar_pairs(distance)]
        similarities = [common / total for common, total in pairs if total]
        return [float(np.mean(similarities))] if similarities else []

    return values


def _tempos(content: RollContent) -> np.ndarray:
    return np.asarray(US_PER_MINUTE / content.roll.tempo_us)


METRICS = (
    Metric("notes_per_step", "notes per step", "", "notes divided by the number of steps", _notes_per_step, 0, 0.05, 160),
    Metric("keys_sounding", "keys sounding", "", "mean number of sounding keys of a step", _keys_sounding, 0, 0.2, 80),
    Metric("silent_steps", "silent steps", "", "share of the steps at which no key sounds", _silent_steps, 0, 0.02, 50),
    Metric("pitch", "pitch", "semitones", "MIDI note number of each note", _pitches, LOWEST_KEY - 0.5, 1, NUM_KEYS),
    Metric("pitch_range", "pitch range", "semitones", "from the lowest to the highest note", _pitch_range, -0.5, 1, NUM_KEYS),
    Metric(
        name="pitch_class_entropy",
        title="pitch-class entropy",
        unit="bits",
        definition="entropy of the shares of the twelve pitch classes in the notes",
        values=_pitch_class_entropy,
        low=0,
        width=0.05,
        num_bins=72,
    ),
    Metric("note_length", "note lengths", "steps", "length of each note", _note_lengths, 0.5, 1, 64),
    Metric(
        name="inter_onset_interval",
        title="inter-onset intervals",
        unit="steps",
        definition="from each step with an onset to the next one",
        values=_inter_onset_intervals,
        low=0.5,
        width=1,
        num_bins=32,
    ),
    Metric(
        name="bar_position",
        title="onsets by position in the bar",
        unit="",
        definition="steps from the bar line to the onset of each note",
        values=_bar_positions,
        low=-0.5,
        width=1,
        num_bins=24,
        is_ordered=False,
    ),
    Metric(
        name="successive_interval",
        title="intervals between successive notes",
        unit="semitones",
        definition="from the highest onset of each step with onsets to that of the next one; falling intervals are negative",
        values=_successive_intervals,
        low=-_LARGEST_LEAP - 0.5,
        width=1,
        num_bins=2 * _LARGEST_LEAP + 1,
    ),
    Metric(
        name="simultaneous_interval",
        title="intervals between simultaneous notes",
        unit="",
        definition="semitones between all pairs of keys that sound at a step with an onset, octaves removed",
        values=_simultaneous_intervals,
        low=-0.5,
        width=1,
        num_bins=_PITCH_CLASSES,
        is_ordered=False,
    ),
    Metric(
        name="scale_consistency",
        title="scale consistency",
        unit="",
        definition="share of the notes in the major or minor scale that has most of them",
        values=_scale_consistency,
        low=0.5,
        width=0.01,
        num_bins=50,
    ),
    Metric(
        name="groove_similarity",
        title="groove similarity",
        unit="",
        definition="share of the positions of two consecutive bars that both have onsets or both have none; mean over the bars",
        values=_groove_similarity,
        low=0,
        width=0.02,
        num_bins=50,
    ),
    *(
        Metric(
            name=f"self_similarity_{bars}",
            title=f"self-similarity at {bars} bar{'s' * (bars > 1)}",
            unit="",
            definition=f"onsets that two bars have in common, divided by those of either, {bars} bar{'s' * (bars > 1)} apart; "
            "mean over the bars",
            values=_self_similarity(bars),
            low=0,
            width=0.02,
            num_bins=50,
        )
        for bars in (1, 2, 4, 8)
    ),
    Metric("tempo", "tempo", "bpm", "tempo of each step", _tempos, 10, 5, 60),
)
