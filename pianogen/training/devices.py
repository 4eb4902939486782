"""The strategy of tf.distribute for the requested devices and workers."""

import tensorflow as tf

from pianogen.errors import PianogenError
from pianogen.training.resources import Devices, Workers


class DeviceError(PianogenError):
    """TensorFlow sees fewer GPUs than requested."""


def find_strategy(devices: Devices, workers: Workers) -> tf.distribute.Strategy:
    """The strategy of a run; must be called before any other function of TensorFlow.

    Raises:
        DeviceError: TensorFlow sees fewer GPUs than requested.
    """
    tf.config.threading.set_intra_op_parallelism_threads(devices.num_threads)
    names = _gpus(devices.num) if devices.kind == "gpu" else _cpus(devices.num)
    if workers.size > 1:
        cluster = tf.train.ClusterSpec({"worker": list(workers.addresses)})
        return tf.distribute.MultiWorkerMirroredStrategy(
            tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, task_type="worker", task_id=workers.rank)
        )
    return tf.distribute.get_strategy() if len(names) == 1 else tf.distribute.MirroredStrategy(names)


def _cpus(num: int) -> list[str]:
    tf.config.set_visible_devices([], "GPU")
    if num > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * num)
    return [f"/cpu:{index}" for index in range(num)]


def _gpus(num: int) -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) < num:
        raise DeviceError(
            f"{num} GPUs are requested and TensorFlow sees {len(gpus)}; "
            "check the driver, CUDA_VISIBLE_DEVICES and that pianogen[gpu] is installed, or set device: cpu"
        )
    tf.config.set_visible_devices(gpus[:num], "GPU")
    for gpu in gpus[:num]:
        tf.config.experimental.set_memory_growth(gpu, True)
    return [f"/gpu:{index}" for index in range(num)]
