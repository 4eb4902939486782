"""Rprop: its update rule, its state in checkpoints, and its use with several replicas."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.training.rprop import Rprop


def step_sizes(optimizer: Rprop) -> np.ndarray:
    """(W,) step sizes of the only variable of an optimizer."""
    (steps,) = (variable for variable in optimizer.variables if variable.path.endswith("step"))
    return np.asarray(steps.numpy())


def reference_rprop(gradients: np.ndarray, start: np.ndarray, step: float) -> np.ndarray:
    """(W,) weights after N iterations of iRprop- (Igel and Hüsken 2000) with given gradients (N, W)."""
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


def test_update_rule_is_that_of_the_paper() -> None:
    gradients = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    gradients[3:6, 2] = 0
    gradients[:, 4] = np.abs(gradients[:, 4]) * 1e-30  # their products underflow in float32
    start = np.arange(5, dtype=np.float32)
    variable = keras.Variable(start)
    optimizer = Rprop(0.01)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    assert np.allclose(variable.numpy(), reference_rprop(gradients, start, 0.01), rtol=1e-5)


def test_step_sizes_stay_within_their_limits() -> None:
    variable = keras.Variable(np.zeros(2, np.float32))
    optimizer = Rprop(0.01)
    for iteration in range(70):
        optimizer.apply([tf.constant([1.0, (-1.0) ** (iteration // 2)])], [variable])
    assert step_sizes(optimizer) == pytest.approx([50.0, 1e-6])


def descend(optimizer: Rprop, variable: keras.Variable, iterations: int) -> None:
    """Minimizes a parabola that is 10,000 times as steep in one dimension as in the other."""

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def iterate() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.constant([1e4, 1.0]) * tf.square(variable - tf.constant([3.0, -2.0])))
        optimizer.apply(tape.gradient(loss, [variable.value]), [variable])

    for _ in range(iterations):
        iterate()


def test_ill_conditioned_parabola_is_minimized() -> None:
    variable = keras.Variable([0.0, 0.0])
    descend(Rprop(0.1), variable, 100)
    assert np.allclose(variable.numpy(), [3.0, -2.0], atol=1e-3)


def test_training_resumed_from_a_checkpoint_takes_the_same_steps(tmp_path: Path) -> None:
    def build() -> tuple[Rprop, keras.Variable]:
        variable = keras.Variable([0.0, 0.0])
        optimizer = Rprop(0.1)
        optimizer.build([variable])
        return optimizer, variable

    optimizer, variable = build()
    descend(optimizer, variable, 7)
    path = tf.train.Checkpoint(optimizer=optimizer, variable=variable.value).save(str(tmp_path / "c"))
    descend(optimizer, variable, 7)

    resumed_optimizer, resumed_variable = build()
    status = tf.train.Checkpoint(optimizer=resumed_optimizer, variable=resumed_variable.value).restore(path)
    status.assert_consumed()
    descend(resumed_optimizer, resumed_variable, 7)
    assert np.array_equal(resumed_variable.numpy(), variable.numpy())
    assert int(resumed_optimizer.iterations) == 14


def test_keras_serializes_and_restores_it() -> None:
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
    # Each replica computes half of the gradient of a parabola; the optimizer adds them.
    optimizer.apply([tf.constant([1.0, 100.0]) * (variable - tf.constant([3.0, -2.0]))], [variable])

train = tf.function(lambda: strategy.run(iterate))
for _ in range(60):
    train()
(steps,) = (variable for variable in optimizer.variables if variable.path.endswith("step"))
print(*variable.numpy(), *(part.numpy().sum() for part in strategy.experimental_local_results(steps.value)))
"""


def test_two_replicas_take_the_steps_of_one() -> None:
    variable = keras.Variable([0.0, 0.0])
    optimizer = Rprop(0.1)
    for _ in range(60):
        optimizer.apply([2 * tf.constant([1.0, 100.0]) * (variable - tf.constant([3.0, -2.0]))], [variable])
    ended = subprocess.run([sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, check=True, timeout=120)
    *weights, first, second = map(float, ended.stdout.split())
    assert weights == pytest.approx(variable.numpy().tolist())
    assert first == second == pytest.approx(step_sizes(optimizer).sum())
