"""The devices a run asked for, checked against what TensorFlow sees, as a strategy of tf.distribute."""

import tensorflow as tf

from pianogen.config import Config
from pianogen.errors import PianogenError
from pianogen.training.workers import Workers


class DeviceError(PianogenError):
    """The devices that were asked for are not there."""


def find_strategy(config: Config, workers: Workers) -> tf.distribute.Strategy:
    """The strategy of a run; call it before anything else of TensorFlow.

    Raises:
        DeviceError: fewer GPUs are seen than asked for.
    """
    tf.config.threading.set_intra_op_parallelism_threads(config.slurm.cpus_per_task)
    devices = _find_gpus(config) if config.device == "gpu" else _find_cpus(config)
    if workers.size > 1:
        cluster = tf.train.ClusterSpec({"worker": list(workers.addresses)})
        return tf.distribute.MultiWorkerMirroredStrategy(
            tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, task_type="worker", task_id=workers.rank)
        )
    return tf.distribute.get_strategy() if len(devices) == 1 else tf.distribute.MirroredStrategy(devices)


def _find_cpus(config: Config) -> list[str]:
    tf.config.set_visible_devices([], "GPU")  # never looks for one
    if config.logical_devices > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * config.logical_devices
        tf.config.set_logical_device_configuration(cpu, parts)
    return [f"/cpu:{number}" for number in range(config.logical_devices)]


def _find_gpus(config: Config) -> list[str]:
    wanted, gpus = config.slurm.gpus_per_node, tf.config.list_physical_devices("GPU")
    if len(gpus) < wanted:
        raise DeviceError(
            f"{wanted} GPUs were asked for and TensorFlow sees {len(gpus)}; "
            "check the driver, CUDA_VISIBLE_DEVICES and that pianogen[gpu] is installed, or say device: cpu"
        )
    tf.config.set_visible_devices(gpus[:wanted], "GPU")
    for gpu in gpus[:wanted]:
        tf.config.experimental.set_memory_growth(gpu, True)
    return [f"/gpu:{number}" for number in range(wanted)]
