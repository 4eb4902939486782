"""Compiled training iterations and validation batches, and the causes of their failures."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pianogen.models.network import Network
from pianogen.window import Window


class CallResult(NamedTuple):
    """The result of a compiled call.

    Attributes:
        totals: (M,) float64, the totals before the call plus the metrics of its iterations.
        first_bad: () int32 index of the first iteration of the call whose loss is NaN or infinite, -1 if there is none.
        message: sum of the messages of all replicas.
    """

    totals: tf.Tensor
    first_bad: tf.Tensor
    message: tf.Tensor


def compile_iterations(
    strategy: tf.distribute.Strategy, network: Network, optimizer: keras.optimizers.Optimizer, batch: int
) -> Callable[[Any, tf.Tensor, tf.Tensor, tf.Tensor], CallResult]:
    """Compiles training, so that one call runs many iterations.

    Args:
        batch: number of windows of a global batch.

    Returns:
        A function of an iterator over batches, the number of iterations, (M,) float64 totals and a message.
    """
    variables = network.keras.trainable_variables

    def iterate(window: Window) -> tf.Tensor:
        """(M,) share of one replica in the mean metrics of a global batch."""
        with tf.GradientTape() as tape:
            losses = network.losses(window, training=True)
            # Divided by the size of the global batch, because gradients are summed over the replicas.
            loss = tf.reduce_sum(losses["loss"]) / batch
            scaled = optimizer.scale_loss(loss)
        optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        return _sum_over_windows(network, losses) / batch

    def run_iterations(batches: Any, num_iterations: tf.Tensor, totals: tf.Tensor, message: tf.Tensor) -> CallResult:
        first_bad = tf.constant(-1)
        for i in tf.range(num_iterations):
            metrics = strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(iterate, args=(next(batches),)), axis=None)
            totals += metrics
            if first_bad < 0 and not tf.math.is_finite(metrics[0]):
                first_bad = i
        messages = strategy.run(tf.identity, args=(message,))
        return CallResult(totals, first_bad, strategy.reduce(tf.distribute.ReduceOp.SUM, messages, axis=None))

    compiled: Callable[..., CallResult] = tf.function(run_iterations)
    return compiled


def compile_validation(network: Network) -> Callable[[Window], tf.Tensor]:
    """A compiled function of a batch of windows, which returns (M,) float64 sums of the metrics over the windows."""
    compiled: Callable[[Window], tf.Tensor] = tf.function(
        lambda window: _sum_over_windows(network, network.losses(window, training=False))
    )
    return compiled


def failure_cause(error: tf.errors.OpError) -> str:
    """The cause of a failed call: the line of TensorFlow's message that states it, or the store's own message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    store_errors = [line.partition("StoreError: ")[2] for line in lines if "StoreError: " in line]
    lines_before_node = [line for line, next_line in pairwise(lines) if next_line.startswith("[[{{node")]
    cause = [*store_errors, *lines_before_node, *lines[-1:], type(error).__name__][0]
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return f"out of memory ({cause}): lower training.batch, or request more memory"
    return cause


def _sum_over_windows(network: Network, losses: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.cast(tf.stack([tf.reduce_sum(losses[name]) for name in network.metrics]), tf.float64)
