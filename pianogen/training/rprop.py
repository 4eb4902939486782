"""Rprop: each weight has its own step size, and only the sign of the gradient counts (Riedmiller and Braun 1993)."""

from typing import Any

import keras
import tensorflow as tf

_SHRINK, _GROW = 0.5, 1.2
_MIN_STEP, _MAX_STEP = 1e-6, 50.0


@keras.saving.register_keras_serializable("pianogen")
class Rprop(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """The variant iRprop- of Igel and Hüsken (2000), with the constants of Riedmiller and Braun.

    The step size of a weight grows by a factor of 1.2 if its gradient keeps its sign. If the sign changes, the step size is
    halved and the weight is not updated in this iteration. Rprop is meant for full-batch gradients; large batches work best.

    Args:
        learning_rate: initial step size of every weight.
    """

    def __init__(self, learning_rate: float = 0.002, name: str = "rprop", **settings: Any) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **settings)
        self._initial_step = learning_rate

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        initial_step = keras.initializers.Constant(self._initial_step)
        self._steps, self._signs = self.add_optimizer_variables(variables, ["step", "sign"], [initial_step, "zeros"])

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        del learning_rate  # Keras passes it; here, it is only the initial step size
        index = self._get_variable_index(variable)
        step, last_sign = self._steps[index], self._signs[index]
        sign = tf.sign(tf.cast(gradient, variable.dtype))
        agreement = sign * last_sign  # the product of two small gradients would underflow
        factor = tf.where(agreement > 0, _GROW, tf.where(agreement < 0, _SHRINK, 1.0))
        new_step = tf.clip_by_value(step * tf.cast(factor, variable.dtype), _MIN_STEP, _MAX_STEP)
        direction = tf.where(agreement < 0, tf.zeros_like(sign), sign)
        self.assign(step, new_step)
        self.assign(last_sign, direction)
        self.assign_sub(variable, direction * new_step)
