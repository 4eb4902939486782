"""Samples of a trained network: the recurrent state is carried through one compiled loop.

A sample is a function of the weights, the settings, (seed, index) and the primer. Samples are drawn in batches of one
padded size, so that the arithmetic of one does not depend on how many are drawn beside it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pianogen.config import SamplingConfig
from pianogen.data.statistics import Statistics
from pianogen.errors import Interrupted, UsageError
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Rejection
from pianogen.models.network import NUM_UNIFORMS, Network
from pianogen.roll import HOLD, NUM_KEYS, ONSET, PACKED_BYTES, Roll, pack
from pianogen.sampling.decision import Decision
from pianogen.store import Pieces, Split, write_store

BATCH = 8


def draw_samples(
    network: Network,
    config: SamplingConfig,
    statistics: Statistics,
    window_steps: int,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> list[Roll]:
    """Draws `config.num` rolls of `config.steps` steps; the steps of a primer are not repeated in them.

    Args:
        statistics: of what the network was trained on: the dynamic threshold follows it, and without a primer a
            sample starts from silence at its median tempo.
        window_steps: rows of the windows it was trained on, and of that silence.
        is_interrupted: asked between batches.

    Raises:
        UsageError: the primer cannot be read, or holds no notes.
        Interrupted: it was told to leave.
    """
    draw_batch = compile_drawing(network, config, statistics, window_steps)
    rolls: list[Roll] = []
    for first in range(0, config.num, BATCH):
        if is_interrupted():
            raise Interrupted("left while it drew samples; started again, it begins that anew")
        rolls += draw_batch(first)
    return rolls[: config.num]


def compile_drawing(
    network: Network, config: SamplingConfig, statistics: Statistics, window_steps: int
) -> Callable[[int], list[Roll]]:
    """A function that draws the BATCH samples from an index on; see `draw_samples`."""
    primer = read_primer(config.primer) if config.primer else _silence(statistics.median_tempo_us, window_steps)
    threshold = None if config.threshold == "dynamic" else float(config.threshold)
    decision = Decision(config.temperature, threshold, statistics.hold_cdf, statistics.onset_cdf)
    loop = tf.function(lambda noise: _draw(network, primer, decision, noise), jit_compile=True)

    def draw_batch(first: int) -> list[Roll]:
        noise = np.stack([_noise(config, index) for index in range(first, first + BATCH)], axis=1)
        states, tempo_us = (each.numpy() for each in loop(tf.constant(noise)))
        return [Roll(pack(states[:, i]), tempo_us[:, i].astype(np.uint32)) for i in range(BATCH)]

    return draw_batch


def read_primer(path: str) -> Roll:
    """The roll of a MIDI file or score.

    Raises:
        UsageError: there is none, or it holds no notes.
    """
    try:
        return read_roll(Path(path).read_bytes(), path)[0]
    except (OSError, Rejection) as error:
        raise UsageError(f"the primer {path} cannot be used: {error}; name a MIDI file or score with piano notes") from error


def write_samples(path: Path, rolls: list[Roll], config: SamplingConfig, origin: dict[str, str], version: str) -> None:
    """Writes samples as a store, each with what it was drawn with.

    Args:
        origin: the run and the checkpoint they were drawn from.
    """
    drawn = [
        {
            **origin,
            "seed": config.seed,
            "index": index,
            "temperature": config.temperature,
            "threshold": config.threshold,
            "primer": config.primer,
        }
        for index in range(len(rolls))
    ]
    pieces = Pieces(
        name=[f"{index:04d}" for index in range(len(rolls))],
        group=[""] * len(rolls),
        steps=np.array([len(roll) for roll in rolls], np.uint32),
        first_step=np.zeros(len(rolls), np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.full(len(rolls), Split.NONE, np.uint8),
        sha256=[roll.sha256 for roll in rolls],
        sample=[json.dumps(each) for each in drawn],
    )
    write_store(path, "samples", pieces, rolls, {"version": version, **config.model_dump(mode="json")})


def _silence(tempo_us: int, steps: int) -> Roll:
    """A window of silence: networks that learned from windows have never been asked after a single row."""
    return Roll(np.zeros((steps, PACKED_BYTES), np.uint8), np.full(steps, tempo_us, np.uint32))


def _noise(config: SamplingConfig, index: int) -> np.ndarray:
    """(T, NUM_UNIFORMS) float32 of one sample. Philox is specified bit by bit (Salmon et al. 2011)."""
    generator = np.random.Generator(np.random.Philox(key=[config.seed, index]))
    return generator.random((config.steps, NUM_UNIFORMS), np.float32)


def _draw(network: Network, primer: Roll, decision: Decision, noise: tf.Tensor) -> Any:
    """(T, B, 88) states and (T, B) tempo_us from (T, B, NUM_UNIFORMS) noise."""
    num_steps, batch = noise.shape[0], noise.shape[1]
    packed = tf.repeat(tf.constant(primer.packed)[:, tf.newaxis], batch, axis=1)
    tempo_us = tf.repeat(tf.constant(primer.tempo_us.astype(np.int32))[:, tf.newaxis], batch, axis=1)
    output, state = network.step(packed[0], tempo_us[0], network.initial_state(batch))
    for step in tf.range(1, len(primer)):
        output, state = network.step(packed[step], tempo_us[step], state)
    # Nothing may be held into a sample: the primer is not part of it, and a hold follows an onset or a hold.
    sounding = tf.zeros((batch, NUM_KEYS), tf.bool)
    all_states = tf.TensorArray(tf.uint8, num_steps)
    all_tempos = tf.TensorArray(tf.int32, num_steps)
    for step in tf.range(num_steps):
        states, tempo = network.draw(output, sounding, noise[step], decision)
        all_states = all_states.write(step, states)
        all_tempos = all_tempos.write(step, tempo)
        sounding = states > 0
        output, state = network.step(_pack(states), tempo, state)
    return all_states.stack(), all_tempos.stack()


def _pack(states: tf.Tensor) -> tf.Tensor:
    """(B, 22) uint8 of (B, 88) states, as `pianogen.roll.pack`."""
    bits = tf.cast(tf.concat([states == ONSET, states == HOLD], axis=-1), tf.int32)
    weights = tf.constant([128, 64, 32, 16, 8, 4, 2, 1], tf.int32)
    return tf.cast(tf.reduce_sum(tf.reshape(bits, [-1, PACKED_BYTES, 8]) * weights, axis=-1), tf.uint8)
