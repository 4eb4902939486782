"""Compiled training iterations, and the causes of their failures."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pianogen.config import TrainingConfig
from pianogen.models.network import Network
from pianogen.training.weight_average import update_average
from pianogen.window import Window


class CallResult(NamedTuple):
    """The result of a compiled call.

    Attributes:
        totals: (M,) float64, the totals before the call plus the metrics of its iterations.
        first_bad: () int64 the first iteration of the call whose loss is NaN or infinite, counted from 0; -1 if there is none.
        message: sum of the messages of all replicas.
    """

    totals: tf.Tensor
    first_bad: tf.Tensor
    message: tf.Tensor


def compile_iterations(
    strategy: tf.distribute.Strategy,
    network: Network,
    averaged: Network,
    optimizer: keras.optimizers.Optimizer,
    training: TrainingConfig,
) -> Callable[[Any, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], CallResult]:
    """Compiles training, so that one call runs many iterations.

    Args:
        averaged: the network that holds the moving average of the weights; only used if `training.average` is set.

    Returns:
        A function of an iterator over batches, () int64 first iteration and end of the call, (M,) float64 totals and a message.
    """
    variables = network.keras.trainable_variables

    def iterate_replica(window: Window, iteration: tf.Tensor) -> tf.Tensor:
        """(M,) share of one replica in the mean metrics of a global batch."""
        with tf.GradientTape() as tape:
            losses = network.losses(window, training=True, seed=_replica_seed(training.seed, iteration))
            # Divided by the size of the global batch, because gradients are summed over the replicas.
            loss = tf.reduce_sum(losses["loss"]) / training.batch
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        if training.clip_norm is not None or training.mixed_precision:
            gradients = _share_of_global_gradient(gradients, optimizer, training.clip_norm)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return sum_metrics(network, losses) / training.batch

    # Only the loop below is Python code to convert; the conversion of the model takes seconds and changes nothing.
    iterate = tf.autograph.experimental.do_not_convert(iterate_replica)

    def run_iterations(batches: Any, begin: tf.Tensor, end: tf.Tensor, totals: tf.Tensor, message: tf.Tensor) -> CallResult:
        first_bad = tf.constant(-1, tf.int64)
        for iteration in tf.range(begin, end):
            replica_metrics = strategy.run(iterate, args=(next(batches), iteration))
            metrics = strategy.reduce(tf.distribute.ReduceOp.SUM, replica_metrics, axis=None)
            totals += metrics
            if first_bad < 0 and not tf.math.is_finite(metrics[0]):
                first_bad = iteration
            if training.average is not None:
                update_average(strategy, averaged.keras, network.keras, training.average, iteration)
        messages = strategy.run(tf.identity, args=(message,))
        return CallResult(totals, first_bad, strategy.reduce(tf.distribute.ReduceOp.SUM, messages, axis=None))

    compiled: Callable[..., CallResult] = tf.function(run_iterations)
    return compiled


def _replica_seed(seed: int, iteration: tf.Tensor) -> tf.Tensor:
    """(2,) int32 seed of the random numbers of this replica in an iteration, so that a resumed run draws the same ones."""
    replica = tf.distribute.get_replica_context()
    number = iteration * replica.num_replicas_in_sync + tf.cast(replica.replica_id_in_sync_group, tf.int64)
    return tf.cast(tf.stack([seed, number]), tf.int32)


def _share_of_global_gradient(
    gradients: list[tf.Tensor], optimizer: keras.optimizers.Optimizer, clip_norm: float | None
) -> list[tf.Tensor]:
    """The clipped gradient of the global batch, divided by the number of replicas: the optimizer sums over the replicas.

    Without this sum, Keras would clip the gradient of each replica, and would test only that of the first replica for an
    overflow in 16 bits.
    """
    replica = tf.distribute.get_replica_context()
    dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
    gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, dense)
    if clip_norm is not None:
        # In mixed precision, gradients are scaled like the loss.
        gradients, _ = tf.clip_by_global_norm(gradients, optimizer.scale_loss(clip_norm))
    return [gradient / replica.num_replicas_in_sync for gradient in gradients]


def failure_cause(error: tf.errors.OpError) -> str:
    """The cause of a failed call: the line of TensorFlow's message that states it, or the store's own message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    store_errors = [line.partition("StoreError: ")[2] for line in lines if "StoreError: " in line]
    lines_before_node = [line for line, next_line in pairwise(lines) if next_line.startswith("[[{{node")]
    cause = [*store_errors, *lines_before_node, *lines[-1:], type(error).__name__][0]
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return f"out of memory ({cause}): lower training.batch, or request more memory"
    return cause


def sum_metrics(network: Network, losses: dict[str, tf.Tensor]) -> tf.Tensor:
    """(M,) float64 sum of each metric."""
    return tf.cast(tf.stack([tf.reduce_sum(losses[name]) for name in network.metrics]), tf.float64)
