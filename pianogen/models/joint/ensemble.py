"""The parts of an ensemble of joint models: each takes the place of a part of a model.

Its outputs and states are lists with one entry for each member.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from pianogen.models.joint.rows import Rows
from pianogen.models.joint.stages import Stage
from pianogen.models.joint.tempo import TempoDistribution, TempoNetwork, TempoOutput, mix


class Members(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Recurrent layers that read the same rows: the bodies or the tempo networks of the members."""

    def __init__(self, members: Sequence[Any], name: str) -> None:
        super().__init__(name=name, autocast=False)
        self._members = list(members)

    def build(self, _shape: Any) -> None:
        """Nothing: the members are built."""

    def initial_state(self, batch: int) -> list[Any]:
        """The states before the first row."""
        return [member.initial_state(batch) for member in self._members]

    def call(self, rows: Rows, state: list[Any]) -> tuple[list[Any], list[Any]]:
        """The outputs for the rows, and the states after them."""
        results = [member(rows, own) for member, own in zip(self._members, state, strict=True)]
        return [output for output, _ in results], [own for _, own in results]


class MixedTempo(Members):
    """Networks for the tempo, whose distributions are mixed."""

    def __init__(self, members: Sequence[TempoNetwork]) -> None:
        super().__init__(members, name="tempo")

    def distribution(self, outputs: Sequence[TempoOutput], states: tf.Tensor) -> TempoDistribution:
        """See `TempoNetwork.distribution`."""
        return mix([member.distribution(output, states) for member, output in zip(self._members, outputs, strict=True)])


class MeanStage(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A stage whose logits are the means of those of the members."""

    def __init__(self, members: Sequence[Stage]) -> None:
        super().__init__()
        self._members = list(members)

    def precompute(self, key_units: Sequence[tf.Tensor], semitones: tf.Tensor, *decided: tf.Tensor) -> list[Any]:
        """See `Stage.precompute`."""
        return [member.precompute(own, semitones, *decided) for member, own in zip(self._members, key_units, strict=True)]

    def logits(self, precomputed: Sequence[Any], *decided: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """See `Stage.logits`."""
        logits = [member.logits(own, *decided, seed=seed) for member, own in zip(self._members, precomputed, strict=True)]
        return tf.add_n(logits) / len(logits)
