"""The devices a run asked for, checked against what TensorFlow sees, as a strategy of tf.distribute."""

import tensorflow as tf

from pianogen.config import Config
from pianogen.errors import PianogenError


class DeviceError(PianogenError):
    """The devices that were asked for are not there."""


def find_strategy(config: Config) -> tf.distribute.Strategy:
    """The strategy of a run; call it before anything else of TensorFlow.

    Raises:
        DeviceError: fewer GPUs are seen than asked for.
    """
    tf.config.threading.set_intra_op_parallelism_threads(config.slurm.cpus_per_task)
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")  # never looks for one
        if config.logical_devices == 1:
            return tf.distribute.get_strategy()
        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * config.logical_devices
        tf.config.set_logical_device_configuration(cpu, parts)
        return tf.distribute.MirroredStrategy([f"/cpu:{number}" for number in range(config.logical_devices)])
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) < config.slurm.gpus_per_node:
        raise DeviceError(
            f"{config.slurm.gpus_per_node} GPUs were asked for and TensorFlow sees {len(gpus)}; "
            "check the driver, CUDA_VISIBLE_DEVICES and that pianogen[gpu] is installed, or say device: cpu"
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if config.slurm.gpus_per_node == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"/gpu:{number}" for number in range(config.slurm.gpus_per_node)])
