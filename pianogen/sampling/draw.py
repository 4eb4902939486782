"""Drawing of samples: one compiled loop carries the recurrent state from step to step.

A sample is a function of the weights, the settings, the primer, the seed and the index of the sample. Samples are drawn in
batches of one size, padded where necessary, so that the arithmetic of a sample does not depend on how many others are drawn. The
loop of a batch is too small for several cores, so each core draws a batch of its own.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import tensorflow as tf

from pianogen.config import SamplingConfig
from pianogen.data.statistics import Statistics
from pianogen.errors import Interrupted
from pianogen.models.features import pack_rows
from pianogen.models.network import NUM_UNIFORMS, Decision, Network
from pianogen.roll import NUM_KEYS, PACKED_BYTES, Roll, join, pack
from pianogen.sampling.bars import continue_bars
from pianogen.sampling.decision import ThresholdRule
from pianogen.sampling.primer import read_primer
from pianogen.sampling.sample_store import Sample, SampleSource, write_samples


class Sampler:
    """Draws the samples of a trained network; the first batch compiles the loop.

    Args:
        config: the settings of the samples.
        statistics: statistics of the train split; the dynamic threshold follows them. The tempo of the silence before a sample is
            their median tempo, unless the tempo of samples is fixed.

    Attributes:
        bar_position: (T,) uint8, those of every sample.

    Raises:
        UsageError: the primer cannot be read, or has no notes; or a bar of the meter is not a whole number of steps.
    """

    def __init__(self, network: Network, config: SamplingConfig, statistics: Statistics) -> None:
        self.config, self._batch = config, network.sampling_batch
        rule = None
        if network.has_rule:
            threshold = None if config.threshold in (None, "dynamic") else float(config.threshold)
            rule = ThresholdRule(config.temperature, threshold, statistics.hold_cdf, statistics.onset_cdf)
        decision = Decision(config.temperature, config.top_p, rule)
        primer = read_primer(config, statistics.steps_per_quarter)
        silence = Roll(
            np.zeros((1, PACKED_BYTES), np.uint8),
            np.full(1, config.tempo_us or statistics.median_tempo_us, np.uint32),
            np.zeros(1, np.uint8),
            steps_per_quarter=statistics.steps_per_quarter,
        )
        read = primer.rows(None, config.primer_steps)
        self.bar_position = continue_bars(primer, len(read), config.meter, config.steps)
        self._steps_per_quarter = statistics.steps_per_quarter
        start = join([silence, read])
        bar_position = np.append(start.bar_position, self.bar_position)
        # Only the loop over the steps is Python code to convert; the conversion of the model takes a second and changes nothing.
        draw_steps = tf.autograph.to_graph(_draw_steps, recursive=False)
        self._draw = tf.function(
            lambda noise: draw_steps(network, start, bar_position, decision, config, noise), autograph=False, jit_compile=True
        )

    def draw(self, shutdown_requested: Callable[[], bool] = lambda: False, first: int = 0) -> list[Sample]:
        """Draws the samples up to the number `config.num`, each of `config.steps` steps, without the steps of the primer.

        Args:
            shutdown_requested: called before each batch; True stops the drawing.
            first: index of the first sample that is drawn.

        Raises:
            Interrupted: a shutdown was requested.
        """
        num, best_of = self.config.num, self.config.best_of

        def draw_batch(start: int) -> list[Sample]:
            if shutdown_requested():
                raise Interrupted("received a shutdown signal while drawing samples; the next attempt draws them again")
            numbers = range(start, start + self._batch)
            noise = np.stack([_noise(self.config, number) for number in numbers], axis=1)
            states, tempo_us, nats = (tensor.numpy() for tensor in self._draw(tf.constant(noise)))
            rolls = [self._make_roll(states[:, i], tempo_us[:, i]) for i in range(self._batch)]
            return [
                Sample(roll, number % best_of, float(total) / max(roll.num_notes, 1))
                for roll, number, total in zip(rolls, numbers, nats, strict=True)
            ]

        num_threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()
        with ThreadPoolExecutor(num_threads) as pool:
            # A candidate always has the same place in its batch, so that its arithmetic does not depend on `first`.
            start = first * best_of // self._batch * self._batch
            candidates = list(chain.from_iterable(pool.map(draw_batch, range(start, num * best_of, self._batch))))
        places = (index * best_of - start for index in range(first, num))
        return [_most_probable(candidates[place : place + best_of]) for place in places]

    def _make_roll(self, states: np.ndarray, tempo_us: np.ndarray) -> Roll:
        return Roll(*(pack(states), tempo_us.astype(np.uint32), self.bar_position), steps_per_quarter=self._steps_per_quarter)


def draw_to_store(
    path: Path,
    sampler: Sampler,
    source: SampleSource,
    shutdown_requested: Callable[[], bool] = lambda: False,
    first: int = 0,
) -> list[Roll]:
    """Draws samples and writes them as a store.

    Args:
        source: the run and the checkpoint, which the store records.
        shutdown_requested: called before each batch; True stops the drawing, and no store is written.
        first: index of the first sample that is drawn.

    Returns:
        The samples.

    Raises:
        Interrupted: a shutdown was requested.
    """
    samples = sampler.draw(shutdown_requested, first)
    write_samples(path, samples, sampler.config, source, first)
    return [sample.roll for sample in samples]


def _most_probable(candidates: list[Sample]) -> Sample:
    """The candidate with the largest likelihood per note; one without notes only if none has any."""
    return min(candidates, key=lambda sample: (sample.roll.num_notes == 0, sample.nats_per_note))


def _noise(config: SamplingConfig, number: int) -> np.ndarray:
    """(T, NUM_UNIFORMS) float32 of one candidate. Philox is specified bit by bit (Salmon et al. 2011)."""
    generator = np.random.Generator(np.random.Philox(key=[config.seed, number]))
    return generator.random((config.steps, NUM_UNIFORMS), np.float32)


def _draw_steps(
    network: Network, start: Roll, bar_position: np.ndarray, decision: Decision, config: SamplingConfig, noise: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(T, B, 88) states, (T, B) tempo_us and (B,) nats of B candidates from (T, B, NUM_UNIFORMS) noise.

    Args:
        start: the rows that are read before the first one is drawn.
        bar_position: of the rows of `start` and of the T rows.
    """
    num_steps, batch = noise.shape[0], noise.shape[1]
    given = tf.repeat(tf.constant(start.packed)[:, tf.newaxis], batch, axis=1)
    given_us = tf.repeat(tf.constant(start.tempo_us.astype(np.int32))[:, tf.newaxis], batch, axis=1)
    positions = tf.repeat(tf.constant(bar_position.astype(np.int32))[:, tf.newaxis], batch, axis=1)
    state = network.initial_state(batch, len(start) - 1 + num_steps, int(start.tempo_us[0]))
    row, tempo_us = given[0], given_us[0]
    # A sample starts without sounding keys: a hold must follow an onset or a hold, and the primer is not part of the sample.
    sounding = tf.zeros((batch, 1, NUM_KEYS), tf.bool)
    nats = tf.zeros([batch])
    all_states = tf.TensorArray(tf.uint8, num_steps)
    all_tempos = tf.TensorArray(tf.int32, num_steps)
    # One loop for the given and the drawn rows: most of the time of a short sample goes into the compilation of its body.
    for step in tf.range(1, len(start) + num_steps):
        output, state = network.step(row, tempo_us, positions[step], state)
        number = step - len(start)  # in the sample; while it is negative, index 0 is written, which is overwritten later
        states = tf.zeros((batch, 1, NUM_KEYS), tf.uint8)
        if number < 0:
            row, tempo_us = given[step], given_us[step]
        else:
            states, drawn_us = network.draw(output, sounding, noise[number, :, tf.newaxis], decision)
            if config.best_of > 1:
                nats -= network.log_likelihood(output, states, sounding)[:, 0]
            row, tempo_us = pack_rows(states[:, 0]), tf.fill([batch], config.tempo_us) if config.tempo_us else drawn_us[:, 0]
        sounding = states > 0
        all_states = all_states.write(tf.maximum(number, 0), states[:, 0])
        all_tempos = all_tempos.write(tf.maximum(number, 0), tempo_us)
    return all_states.stack(), all_tempos.stack(), nats
