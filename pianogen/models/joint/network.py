"""The joint model as a `pianogen.models.network.Network`."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from pianogen.config import ModelConfig
from pianogen.models.features import unpack_rows
from pianogen.models.joint import history
from pianogen.models.joint.body import DenseBody, TiedBody
from pianogen.models.joint.ensemble import Members, MixedTempo
from pianogen.models.joint.features import use_keys
from pianogen.models.joint.heads import one_pass_head, two_stage_head
from pianogen.models.joint.layers import drop
from pianogen.models.joint.rows import LONGEST, PITCH_CLASSES, Rows, rows_of
from pianogen.models.joint.tempo import TempoNetwork
from pianogen.models.network import Decision
from pianogen.roll import DEFAULT_TEMPO_US, HOLD, NUM_KEYS, ONSET, PACKED_BYTES, SILENT
from pianogen.window import PROFILE_DECAYS, Context, Window

# Of a key that is not in use: the probability of an onset at a step, and of a hold after an onset or hold.
_UNUSED_ONSET, _UNUSED_HOLD = 1e-6, 0.5
_BODIES: dict[str, Callable[..., Any]] = {"tied": TiedBody, "dense": DenseBody}
_HEADS: dict[str, Callable[..., Any]] = {"two_stage": two_stage_head, "one_pass": one_pass_head}
_HEAD_UNITS = 48
_TEMPO_UNIFORMS = 2 * NUM_KEYS  # the numbers before are those of holds and onsets


class Output(NamedTuple):
    """The output of the joint model for T rows.

    Attributes:
        key_units: (T, B, K, U) output of the body; of an ensemble, a list with that of each member.
        semitones: (B,) int32 transposition.
        tempo: output of the tempo network; of an ensemble, a list with that of each member.
    """

    key_units: Any
    semitones: tf.Tensor
    tempo: Any


class State(NamedTuple):
    """The state of the joint model.

    Attributes:
        history: the rows read by `step`; `read` has the same from the context of the window.
        keys, tempo: the states of the two recurrent networks; of an ensemble, lists with those of each member.
    """

    history: history.History
    keys: list[Any]
    tempo: list[Any]


@keras.saving.register_keras_serializable("pianogen")
class JointModel(keras.Model):  # type: ignore[misc]  # Keras has no types
    """The layers of the joint model; called with the tensors of a window, it returns the loss of each row, (B, W).

    Args:
        body, head, tempo: the layers.
        dropout: share of the units of the body that training drops.
        origin: the arguments of `from_config`; an ensemble has none.
    """

    def __init__(self, body: Any, head: Any, tempo: Any, dropout: float = 0.0, origin: dict[str, Any] | None = None) -> None:
        super().__init__(name="joint", autocast=False)
        self.body, self.head, self.tempo, self.keys = body, head, tempo, head.keys
        self._dropout, self._origin = dropout, origin
        self(_window_of_silence())  # creates the weights, before they are loaded

    @classmethod
    def from_config(cls, config: dict[str, Any], **_options: Any) -> "JointModel":
        """The model with initial weights that Keras saved; see `joint_model`."""
        keys, steps_per_quarter = range(*config["keys"]), config["steps_per_quarter"]
        return joint_model(ModelConfig(**config["settings"]), keys, steps_per_quarter, config["dropout"])

    def get_config(self) -> dict[str, Any]:
        """The arguments of `joint_model` as JSON values."""
        if self._origin is None:
            raise NotImplementedError("an ensemble is not saved: its members are")
        return self._origin

    @property
    def steps_per_quarter(self) -> int:
        """Steps of a quarter note."""
        return int(self.get_config()["steps_per_quarter"])

    def build(self, _shape: Any) -> None:
        """Nothing: the layers in this one are built when they are first called."""

    def call(self, window: list[tf.Tensor]) -> tf.Tensor:
        """The loss of each row, (B, W), from [packed, tempo_us, bar_position, *context]."""
        packed, tempo_us, bar_position, *context = window
        rows = Window(packed, tempo_us, bar_position, Context(*context))
        output, _ = self.predict_rows(rows_of(rows), self.recurrent_state(len(packed)), None)
        return self.row_losses(output, rows, None)["loss"]

    def recurrent_state(self, batch: int) -> tuple[list[Any], list[Any]]:
        """The states of the networks of keys and tempo before the first row that they read."""
        return self.body.initial_state(batch), self.tempo.initial_state(batch)

    def predict_rows(
        self, rows: Rows, state: tuple[list[Any], list[Any]], seed: tf.Tensor | None
    ) -> tuple[Output, tuple[list[Any], list[Any]]]:
        """The prediction for rows, and the states after them; `seed` is that of the dropout."""
        key_units, keys_state = self.body(rows, state[0])
        tempo, tempo_state = self.tempo(rows, state[1])
        return Output(drop(key_units, self._dropout, seed), rows.semitones, tempo), (keys_state, tempo_state)

    def row_losses(self, output: Output, window: Window, seed: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """(B, W) float32 loss and its parts, the negative log-likelihoods of the keys and of the tempo."""
        states = unpack_rows(window.packed)
        keys = -self.log_likelihood(output, states[:, 1:], states[:, :-1] > 0, seed)
        tempo_us = tf.transpose(window.tempo_us[:, 1:])
        tempo_distribution = self.tempo.distribution(output.tempo, tf.transpose(states[:, 1:], [1, 0, 2]))
        tempo = -tf.transpose(tempo_distribution.log_likelihood(tempo_us))
        return {"loss": keys + tempo, "keys_nats": keys, "tempo_nats": tempo}

    def log_likelihood(self, output: Output, states: tf.Tensor, sounding: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """(B, W) float32 log probability of (B, W, 88) states, those of unused keys included."""
        used = [use_keys(tf.transpose(tensor, [1, 0, 2]), self.keys) for tensor in (states, sounding)]
        head_seed = None if seed is None else tf.random.experimental.stateless_fold_in(seed, 1)
        likelihood = self.head.log_likelihood(output.key_units, output.semitones, *used, head_seed)
        return tf.transpose(likelihood) + _unused_log_likelihood(states, sounding, self.keys)

    def draw(self, output: Output, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Network.draw`."""
        rows_first = tf.transpose(uniforms, [1, 0, 2])
        used = use_keys(tf.transpose(sounding, [1, 0, 2]), self.keys)
        drawn = tf.transpose(self.head.draw(output.key_units, output.semitones, used, rows_first, decision), [1, 0, 2])
        unused = _draw_unused(sounding, uniforms, self.keys)
        states = tf.concat([unused[..., : self.keys.start], drawn, unused[..., self.keys.stop :]], axis=-1)
        numbers = rows_first[..., _TEMPO_UNIFORMS : _TEMPO_UNIFORMS + 3]
        tempo_distribution = self.tempo.distribution(output.tempo, tf.transpose(states, [1, 0, 2]))
        return states, tf.transpose(tempo_distribution.draw(numbers))


def joint_model(config: ModelConfig, keys: range, steps_per_quarter: int, dropout: float) -> JointModel:
    """A joint model with initial weights.

    Args:
        keys: the keys in use: the keys of the train split and those between them.
        steps_per_quarter: steps of a quarter note.
        dropout: share of the units that training drops.
    """
    origin = {
        "settings": config.model_dump(),
        "keys": (keys.start, keys.stop),
        "steps_per_quarter": steps_per_quarter,
        "dropout": dropout,
    }
    body = _BODIES[config.body](config.cell, config.units, keys, steps_per_quarter, copy=config.copies)
    tempo = TempoNetwork(config.cell, steps_per_quarter)
    return JointModel(body, _HEADS[config.head](_HEAD_UNITS, keys, dropout), tempo, dropout, origin)


def joint_ensemble(members: Sequence[JointModel]) -> JointModel:
    """The model whose logits are the means of those of its members, and whose tempo is the mixture of theirs.

    Raises:
        ValueError: the members have different heads or keys.
    """
    if len({(type(member.head), member.keys) for member in members}) > 1:
        raise ValueError("the members have different heads or keys")
    heads = [member.head for member in members]
    body = Members([member.body for member in members], name="body")
    return JointModel(body, type(heads[0]).mean_of(heads), MixedTempo([member.tempo for member in members]))


class Joint:
    """The joint model; implements `Network`.

    Args:
        model: all layers.
    """

    metrics: tuple[str, ...] = ("loss", "keys_nats", "tempo_nats")
    every_row = reads_context = True
    has_rule = False
    sampling_batch = 8

    def __init__(self, model: JointModel) -> None:
        self.keras = model
        # XLA is required: in a loop, the graph optimizer of TensorFlow turns sums into temporary variables that outlive the call.
        self._draw = tf.function(self.keras.draw, autograph=False, jit_compile=True)

    def losses(self, window: Window, training: bool, seed: tf.Tensor = (0, 0)) -> dict[str, tf.Tensor]:
        """See `Network.losses`; means over the rows of a window."""
        dropout_seed = seed if training else None
        output, _ = self.keras.predict_rows(rows_of(window), self.keras.recurrent_state(tf.shape(window.packed)[0]), dropout_seed)
        losses = self.keras.row_losses(output, window, dropout_seed)
        return {name: tf.reduce_mean(values, axis=1) for name, values in losses.items()}

    def initial_state(self, batch: int, num_steps: int, tempo_us: int) -> State:
        """See `Network.initial_state`; before the first row of a piece, the model reads no tempo."""
        del tempo_us
        return State(history.empty(batch, num_steps), *self.keras.recurrent_state(batch))

    def read(self, window: Window, state: State) -> tuple[Output, State]:
        """See `Network.read`; the history comes from the context of the window."""
        output, recurrent = self.keras.predict_rows(rows_of(window), (state.keys, state.tempo), None)
        return output, State(state.history, *recurrent)

    def row_losses(self, output: Output, window: Window) -> dict[str, tf.Tensor]:
        """See `Network.row_losses`: the loss is the sum of the negative log-likelihoods of the keys and of the tempo."""
        losses: dict[str, tf.Tensor] = self.keras.row_losses(output, window, None)
        return losses

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, bar_position: tf.Tensor, state: State) -> tuple[Output, State]:
        """See `Network.step`."""
        next_history, rows = history.read(state.history, packed, tempo_us, bar_position)
        output, recurrent = self.keras.predict_rows(rows, (state.keys, state.tempo), None)
        return output, State(next_history, *recurrent)

    def log_likelihood(self, output: Output, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """See `Network.log_likelihood`."""
        return self.keras.log_likelihood(output, states, sounding, None)

    def draw(self, output: Output, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Network.draw`."""
        drawn: tuple[tf.Tensor, tf.Tensor] = self._draw(output, sounding, uniforms, decision)
        return drawn


def _is_unused(keys: range) -> np.ndarray:
    """(88,) bool."""
    return ~np.isin(np.arange(NUM_KEYS), keys)


def _unused_log_likelihood(states: tf.Tensor, sounding: tf.Tensor, keys: range) -> tf.Tensor:
    """(B, W) float32 log probability of the states of unused keys, which are independent of each other."""
    held = states == HOLD
    hold = tf.where(sounding, tf.where(held, math.log(_UNUSED_HOLD), math.log(1 - _UNUSED_HOLD)), 0.0)
    onset = tf.where(held, 0.0, tf.where(states == ONSET, math.log(_UNUSED_ONSET), math.log1p(-_UNUSED_ONSET)))
    return tf.reduce_sum(tf.where(_is_unused(keys), hold + onset, 0.0), axis=-1)


def _draw_unused(sounding: tf.Tensor, uniforms: tf.Tensor, keys: range) -> tf.Tensor:
    """(B, W, 88) uint8 states of unused keys; the others are silent."""
    held = sounding & (uniforms[..., :NUM_KEYS] < _UNUSED_HOLD)
    onset = uniforms[..., NUM_KEYS : 2 * NUM_KEYS] < _UNUSED_ONSET
    states = tf.where(held, HOLD, tf.where(onset, ONSET, SILENT))
    return tf.cast(tf.where(_is_unused(keys), states, SILENT), tf.uint8)


def _window_of_silence() -> list[tf.Tensor]:
    """The tensors of a window of one row."""
    integers = {"step": (1,), "bars": (1,), "semitones": (1,), "match_steps": (1, 1), "match_distance": (1, 1)}
    context = Context(
        **{name: tf.zeros(shape, tf.int32) for name, shape in integers.items()},
        match=tf.zeros((1, 1, PACKED_BYTES), tf.uint8),
        since_onset=tf.fill((1, NUM_KEYS), tf.constant(LONGEST, tf.uint8)),
        duration=tf.zeros((1, NUM_KEYS), tf.uint8),
        profile=tf.zeros((1, len(PROFILE_DECAYS), PITCH_CLASSES)),
    )
    packed, bar_position = tf.zeros((1, 2, PACKED_BYTES), tf.uint8), tf.zeros((1, 2), tf.uint8)
    return [packed, tf.fill((1, 2), DEFAULT_TEMPO_US), bar_position, *context]
