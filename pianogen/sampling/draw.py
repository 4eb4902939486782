"""Drawing of samples: one compiled loop carries the recurrent state from step to step.

A sample is a function of the weights, the settings, the primer, the seed and the index of the sample. Samples are drawn in
batches of one size, padded where necessary, so that the arithmetic of a sample does not depend on how many others are drawn.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from pianogen.config import SamplingConfig
from pianogen.data.statistics import Statistics
from pianogen.errors import Interrupted, UsageError
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Rejection
from pianogen.models.network import NUM_UNIFORMS, DecisionRule, Network
from pianogen.roll import HOLD, NUM_KEYS, ONSET, PACKED_BYTES, Roll, pack
from pianogen.sampling.decision import ThresholdRule
from pianogen.sampling.sample_store import SampleSource, write_samples

BATCH = 8


class Sampler:
    """Draws the samples of a trained network; the first batch compiles the loop.

    Args:
        config: the settings of the samples.
        statistics: statistics of the train split. The dynamic threshold follows them, and without a primer, samples start from
            silence at the median tempo.
        window_steps: number of input rows of the windows that the network was trained on, and of that silence.

    Raises:
        UsageError: the primer cannot be read, or has no notes.
    """

    def __init__(self, network: Network, config: SamplingConfig, statistics: Statistics, window_steps: int) -> None:
        self.config = config
        primer = _read_primer(config.primer) if config.primer else _silence(statistics.median_tempo_us, window_steps)
        threshold = None if config.threshold == "dynamic" else float(config.threshold)
        rule = ThresholdRule(config.temperature, threshold, statistics.hold_cdf, statistics.onset_cdf)
        self._draw = tf.function(lambda noise: _draw_steps(network, primer, rule, noise), jit_compile=True)

    def draw(self, shutdown_requested: Callable[[], bool] = lambda: False) -> list[Roll]:
        """Draws `config.num` rolls of `config.steps` steps, without the steps of the primer.

        Args:
            shutdown_requested: called before each batch; True stops the drawing.

        Raises:
            Interrupted: a shutdown was requested.
        """
        rolls: list[Roll] = []
        for first in range(0, self.config.num, BATCH):
            if shutdown_requested():
                raise Interrupted("received a shutdown signal while drawing samples; the next attempt draws them again")
            noise = np.stack([_noise(self.config, index) for index in range(first, first + BATCH)], axis=1)
            states, tempo_us = (tensor.numpy() for tensor in self._draw(tf.constant(noise)))
            rolls += [Roll(pack(states[:, i]), tempo_us[:, i].astype(np.uint32)) for i in range(BATCH)]
        return rolls[: self.config.num]


def draw_to_store(
    path: Path, sampler: Sampler, source: SampleSource, shutdown_requested: Callable[[], bool] = lambda: False
) -> list[Roll]:
    """Draws samples and writes them as a store.

    Args:
        source: the run and the checkpoint, which the store records.
        shutdown_requested: called before each batch; True stops the drawing, and no store is written.

    Returns:
        The samples.

    Raises:
        Interrupted: a shutdown was requested.
    """
    rolls = sampler.draw(shutdown_requested)
    write_samples(path, rolls, sampler.config, source)
    return rolls


def _read_primer(path: str) -> Roll:
    try:
        return read_roll(Path(path).read_bytes(), path)[0]
    except (OSError, Rejection) as error:
        raise UsageError(f"cannot read the primer {path}: {error}; use a MIDI file or score with piano notes") from error


def _silence(tempo_us: int, steps: int) -> Roll:
    """A window of silence, because a network that was trained on windows has never predicted from a single row."""
    return Roll(np.zeros((steps, PACKED_BYTES), np.uint8), np.full(steps, tempo_us, np.uint32))


def _noise(config: SamplingConfig, index: int) -> np.ndarray:
    """(T, NUM_UNIFORMS) float32 of one sample. Philox is specified bit by bit (Salmon et al. 2011)."""
    generator = np.random.Generator(np.random.Philox(key=[config.seed, index]))
    return generator.random((config.steps, NUM_UNIFORMS), np.float32)


def _draw_steps(network: Network, primer: Roll, rule: DecisionRule, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(T, B, 88) states and (T, B) tempo_us from (T, B, NUM_UNIFORMS) noise."""
    num_steps, batch = noise.shape[0], noise.shape[1]
    packed = tf.repeat(tf.constant(primer.packed)[:, tf.newaxis], batch, axis=1)
    tempo_us = tf.repeat(tf.constant(primer.tempo_us.astype(np.int32))[:, tf.newaxis], batch, axis=1)
    output, state = network.step(packed[0], tempo_us[0], network.initial_state(batch))
    for step in tf.range(1, len(primer)):
        output, state = network.step(packed[step], tempo_us[step], state)
    # A sample starts without sounding keys: a hold must follow an onset or a hold, and the primer is not part of the sample.
    sounding = tf.zeros((batch, NUM_KEYS), tf.bool)
    all_states = tf.TensorArray(tf.uint8, num_steps)
    all_tempos = tf.TensorArray(tf.int32, num_steps)
    for step in tf.range(num_steps):
        states, tempo = network.draw(output, sounding, noise[step], rule)
        all_states = all_states.write(step, states)
        all_tempos = all_tempos.write(step, tempo)
        sounding = states > 0
        output, state = network.step(_pack(states), tempo, state)
    return all_states.stack(), all_tempos.stack()


def _pack(states: tf.Tensor) -> tf.Tensor:
    """(B, 22) uint8 of (B, 88) states, like `pianogen.roll.pack`."""
    bits = tf.cast(tf.concat([states == ONSET, states == HOLD], axis=-1), tf.int32)
    weights = tf.constant([128, 64, 32, 16, 8, 4, 2, 1], tf.int32)
    return tf.cast(tf.reduce_sum(tf.reshape(bits, [-1, PACKED_BYTES, 8]) * weights, axis=-1), tf.uint8)
