"""Rprop: its rule, its state in checkpoints, and several replicas."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.training.rprop import Rprop


def plain_rprop(gradients: np.ndarray, start: np.ndarray, step: float) -> np.ndarray:
    """iRprop- as Igel and Hüsken print it, weight by weight, over given gradients (N, W)."""
    weights = start.astype(float).copy()
    for weight in range(len(weights)):
        size, last = step, 0.0
        for gradient in gradients[:, weight].tolist():
            if gradient * last > 0:
                size = min(size * 1.2, 50.0)
            elif gradient * last < 0:
                size = max(size * 0.5, 1e-6)
                gradient = 0.0
            weights[weight] -= np.sign(gradient) * size
            last = gradient
    return weights


def test_rule_is_that_of_the_paper() -> None:
    gradients = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    gradients[3:6, 2] = 0
    gradients[:, 4] = np.abs(gradients[:, 4]) * 1e-30  # their products vanish in float32
    start = np.arange(5, dtype=np.float32)
    variable = keras.Variable(start)
    optimizer = Rprop(0.01)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    assert np.allclose(variable.numpy(), plain_rprop(gradients, start, 0.01), rtol=1e-5)


def test_steps_stay_within_their_bounds() -> None:
    variable = keras.Variable(np.zeros(2, np.float32))
    optimizer = Rprop(0.01)
    for turn in range(70):
        optimizer.apply([tf.constant([1.0, (-1.0) ** (turn // 2)])], [variable])
    assert optimizer._steps[0].numpy() == pytest.approx([50.0, 1e-6])


def descend(optimizer: Rprop, variable: keras.Variable, iterations: int) -> None:
    """Minimises a valley 10,000 times as steep one way as the other."""

    @tf.function
    def iterate() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.constant([1e4, 1.0]) * tf.square(variable - tf.constant([3.0, -2.0])))
        optimizer.apply(tape.gradient(loss, [variable.value]), [variable])

    for _ in range(iterations):
        iterate()


def test_a_narrow_valley_is_no_harder_than_a_round_one() -> None:
    variable = keras.Variable([0.0, 0.0])
    descend(Rprop(0.1), variable, 100)
    assert np.allclose(variable.numpy(), [3.0, -2.0], atol=1e-3)


def test_checkpoint_holds_its_state(tmp_path: Path) -> None:
    def fresh() -> tuple[Rprop, keras.Variable]:
        variable = keras.Variable([0.0, 0.0])
        optimizer = Rprop(0.1)
        optimizer.build([variable])
        return optimizer, variable

    optimizer, variable = fresh()
    descend(optimizer, variable, 7)
    path = tf.train.Checkpoint(optimizer=optimizer, variable=variable.value).save(str(tmp_path / "c"))
    descend(optimizer, variable, 7)

    resumed, again = fresh()
    status = tf.train.Checkpoint(optimizer=resumed, variable=again.value).restore(path)
    status.assert_consumed()
    descend(resumed, again, 7)
    assert np.array_equal(again.numpy(), variable.numpy())
    assert int(resumed.iterations) == 14


def test_it_is_known_to_keras_by_name_and_rate() -> None:
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(Rprop(0.25)))
    assert isinstance(optimizer, Rprop)
    assert float(optimizer.learning_rate) == 0.25
    variable = keras.Variable([1.0])
    optimizer.apply([tf.constant([5.0])], [variable])
    assert variable.numpy() == pytest.approx([0.75])


TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
from pianogen.training.rprop import Rprop

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
with strategy.scope():
    variable = keras.Variable([0.0, 0.0])
    optimizer = Rprop(0.1)
    optimizer.build([variable])

def iterate():
    # Each replica sees half of the gradient of a parabola, and they are summed.
    optimizer.apply([tf.constant([1.0, 100.0]) * (variable - tf.constant([3.0, -2.0]))], [variable])

train = tf.function(lambda: strategy.run(iterate))
for _ in range(60):
    train()
print(*variable.numpy(), *(part.numpy().sum() for part in strategy.experimental_local_results(optimizer._steps[0].value)))
"""


def test_replicas_take_the_same_steps() -> None:
    variable = keras.Variable([0.0, 0.0])
    optimizer = Rprop(0.1)
    for _ in range(60):
        optimizer.apply([2 * tf.constant([1.0, 100.0]) * (variable - tf.constant([3.0, -2.0]))], [variable])
    ended = subprocess.run([sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, check=True, timeout=120)
    *weights, first, second = map(float, ended.stdout.split())
    assert weights == pytest.approx(variable.numpy().tolist())
    assert first == second == pytest.approx(optimizer._steps[0].numpy().sum())
