"""Agreement between the workers of a run.

All workers must make the same compiled calls of the same length, or they would wait for each other forever. So no worker acts
on its own shutdown flag or clock: each compiled call sums a message of every worker, and all workers act on the sum.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import tensorflow as tf

from pianogen.training.resources import Workers


@dataclass(frozen=True, slots=True)
class Message:
    """The message of one worker, or the combined message of all workers.

    Attributes:
        shutdown_requested: whether this worker, or any worker, received a shutdown signal.
        last_call_s: seconds that the previous compiled call took, the mean over workers; 0 if there was none.
    """

    shutdown_requested: bool
    last_call_s: float

    def to_tensor(self) -> tf.Tensor:
        """(2,) float32."""
        return tf.constant([self.shutdown_requested, self.last_call_s], tf.float32)

    @classmethod
    def from_sum(cls, total: tf.Tensor, num_replicas: int) -> Self:
        """The combined message of all workers, from the (2,) sum over all replicas."""
        shutdown_share, last_call_s = (total / num_replicas).numpy()
        return cls(bool(shutdown_share > 0), float(last_call_s))


def sum_over_workers(strategy: tf.distribute.Strategy, workers: Workers, values: np.ndarray) -> np.ndarray:
    """The sum of an array over all workers; returns `values` if this process trains alone."""
    if workers.size == 1:
        return values
    # Every replica of a worker contributes an equal share of its values.
    share = tf.constant(values / (strategy.num_replicas_in_sync // workers.size))
    shares = strategy.run(tf.identity, args=(share,))
    return np.asarray(strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None))
