"""Rprop: every weight has a step size of its own, and of the gradient only the sign counts (Riedmiller & Braun 1993)."""

from typing import Any

import keras
import tensorflow as tf

_SHRINK, _GROW = 0.5, 1.2
_SMALLEST_STEP, _LARGEST_STEP = 1e-6, 50.0


@keras.saving.register_keras_serializable("pianogen")
class Rprop(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras has no types
    """The variant iRprop- of Igel and Hüsken (2000), with the constants of Riedmiller and Braun.

    Where a gradient keeps its sign, the step grows by 1.2; where it turns, the step is halved, and this time not taken. It was
    made for gradients of all data: the larger the batch, the better.

    Args:
        learning_rate: the initial step size of every weight.
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
        del learning_rate  # Keras passes it; steps began with it
        index = self._get_variable_index(variable)
        step, last_sign = self._steps[index], self._signs[index]
        sign = tf.sign(tf.cast(gradient, variable.dtype))
        # Of signs, because a product of small gradients would vanish.
        agreement = sign * last_sign
        factor = tf.where(agreement > 0, _GROW, tf.where(agreement < 0, _SHRINK, 1.0))
        new_step = tf.clip_by_value(step * tf.cast(factor, variable.dtype), _SMALLEST_STEP, _LARGEST_STEP)
        taken = tf.where(agreement < 0, tf.zeros_like(sign), sign)
        self.assign(step, new_step)
        self.assign(last_sign, taken)
        self.assign_sub(variable, taken * new_step)
