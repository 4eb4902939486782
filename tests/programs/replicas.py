"""Iterations on two replicas whose gradients differ: (3, 0) and (0, 4); prints JSON."""

import json

import keras
import numpy as np

from pianogen.config import TrainingConfig
from pianogen.training.devices import find_strategy
from pianogen.training.resources import Devices, Workers
from tests.support.linear_network import Trainer

if __name__ == "__main__":
    strategy = find_strategy(Devices(num=2), Workers())
    tempos = np.array([[3, 0], [0, 4]], np.int32)
    with strategy.scope():
        plain = keras.optimizers.SGD(1.0)
        # The scaled gradient of a huge tempo is more than the largest float.
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=2.0**100)
    trainer = Trainer(plain, tempos, TrainingConfig(batch=1, clip_norm=1.0, average=0.9, seed=5), strategy)
    noise = [trainer.run(1)[1]]
    result = {"clipped": trainer.weights.tolist(), "averaged": trainer.averaged_weights.tolist()}
    noise.append(trainer.run(1)[1])

    huge = np.array([[3, 0], [0, 2**31 - 1]], np.int32)
    trainer = Trainer(scaled, huge, TrainingConfig(batch=1, mixed_precision=True), strategy)
    trainer.run(1)
    overflowed = {"weights": trainer.weights.tolist(), "scale": float(scaled.dynamic_scale.numpy())}
    print(json.dumps(result | {"noise": noise, "overflowed": overflowed}))
