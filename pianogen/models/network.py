"""The interface of a network for training, evaluation and sampling.

The interface does not depend on the structure of an output, so a network may predict each key on its own or all keys jointly.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import tensorflow as tf

from pianogen.roll import HOLD, NUM_KEYS, ONSET, SILENT
from pianogen.window import Window

NUM_UNIFORMS = 3 * NUM_KEYS + 2  # random numbers of one step: one per state of each key, and two for counts


class DecisionRule(Protocol):
    """A rule that turns predictions for each key into states."""

    def __call__(self, logits: tf.Tensor, sounding: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        """The states of all keys at one step.

        Args:
            logits: (B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key.
            sounding: (B, 88) bool, keys that sounded at the previous step; only these may be held.
            uniforms: (B, NUM_UNIFORMS) float32, uniform in 0..1.

        Returns:
            (B, 88) uint8 legal states.
        """


def threshold_states(logits: tf.Tensor, sounding: tf.Tensor, threshold: float) -> tf.Tensor:
    """(B, 88) uint8 states: the more probable of ONSET and HOLD if its odds against SILENT exceed those of a threshold.

    Args:
        logits: (B, 88, 3) log probabilities of SILENT, ONSET, HOLD, up to a constant per key.
        sounding: (B, 88) bool, keys that sounded at the previous step; only these may be held.
        threshold: a probability between 0 and 1, exclusive.
    """
    silent, onset = logits[..., SILENT], logits[..., ONSET]
    hold = tf.where(sounding, logits[..., HOLD], -float("inf"))
    sounds = tf.maximum(onset, hold) - silent > math.log(threshold / (1 - threshold))
    return tf.cast(tf.where(sounds, tf.where(onset >= hold, ONSET, HOLD), SILENT), tf.uint8)


@dataclass(frozen=True, slots=True)
class Decision:
    """How a step is drawn from the output of a network.

    Attributes:
        temperature: scale of the randomness of a network that predicts keys jointly, positive; 1 draws from its probabilities.
        top_p: a network that predicts keys jointly draws each decision only from its most probable outcomes: from as many as
            together have this probability (nucleus sampling, Holtzman et al. 2020), after the temperature is applied.
        rule: turns the predictions of a network that predicts each key on its own into states; unused by others.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    rule: DecisionRule | None = None


class Network(Protocol):
    """A network for piano rolls.

    A network predicts rows one after the other, from the row before and from a recurrent state; windows are read at once, with
    the same result. The row before the first one of a piece is silence.

    Attributes:
        keras: the Keras model that holds all weights.
        metrics: names of the metrics, which are the columns of metrics.csv; the first one is "loss".
        every_row: whether the network is trained to predict every row of a window, or only the last one.
        reads_context: whether the network reads the context of windows.
        has_rule: whether `draw` needs a decision rule.
        sampling_batch: number of samples that are best drawn together.
    """

    keras: keras.Model
    metrics: tuple[str, ...]
    every_row: bool
    reads_context: bool
    has_rule: bool
    sampling_batch: int

    def losses(self, window: Window, training: bool, seed: tf.Tensor = (0, 0)) -> dict[str, tf.Tensor]:
        """The loss, which training minimizes, and the other metrics of each window, from the initial state.

        Args:
            training: whether units are dropped.
            seed: (2,) int32; the only source of randomness.

        Returns:
            (B,) float32 for each of `metrics`.
        """

    def initial_state(self, batch: int, num_steps: int, tempo_us: int) -> Any:
        """The state before the row of silence that precedes a piece.

        Args:
            num_steps: largest number of rows that `step` will read.
            tempo_us: tempo of the silence.
        """

    def read(self, window: Window, state: Any) -> tuple[Any, Any]:
        """Reads all rows of a window but the last, and predicts the W rows after them.

        Returns:
            The output for these rows, (B, W, …) or (W, B, …) as the network likes, and the state after the rows read.
        """

    def row_losses(self, output: Any, window: Window) -> dict[str, tf.Tensor]:
        """(B, W) float32 for each of `metrics`: those of the rows of a window that `read` predicted."""

    def step(self, packed: tf.Tensor, tempo_us: tf.Tensor, bar_position: tf.Tensor, state: Any) -> tuple[Any, Any]:
        """Reads one row and predicts the next one.

        Args:
            packed: (B, 22) uint8.
            tempo_us: (B,) int32.
            bar_position: (B,) int32 bar position of the next row, which is known before the row is.
            state: the state before this row.

        Returns:
            The output for the next row, like that of `read` for a window of one row, and the state after this row.
        """

    def log_likelihood(self, output: Any, states: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
        """(B, W) float32 log probability of each row in nats, of all keys together, without the tempo.

        Args:
            output: the output of `read` or, with W = 1, of `step`.
            states: (B, W, 88) uint8 states of the rows.
            sounding: (B, W, 88) bool, keys that sound in the row before; only these can be held.
        """

    def draw(self, output: Any, sounding: tf.Tensor, uniforms: tf.Tensor, decision: Decision) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws legal rows, each given the true rows before it.

        Args:
            output: the output of `read` or, with W = 1, of `step`.
            sounding: (B, W, 88) bool, keys that sound in the row before; only these may be held.
            uniforms: (B, W, NUM_UNIFORMS) float32, uniform in 0..1; the only source of randomness.

        Returns:
            (B, W, 88) uint8 states and (B, W) int32 tempo_us.
        """
