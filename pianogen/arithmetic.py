"""The environment variables and user files that change the results of TensorFlow, Keras and Matplotlib.

Two runs with the same configuration must have the same result for any user. So the settings that these libraries would read from
the home folder of the user are set before their first import, and variables that would change results are refused.
"""

import os

from pianogen.errors import UsageError

_SETTINGS = {
    "KERAS_BACKEND": "tensorflow",
    # Keras reads keras.json (floatx, epsilon) in this folder, and ignores that it can neither be read nor created.
    "KERAS_HOME": f"{os.devnull}/keras",
    "MPLBACKEND": "agg",
    "MATPLOTLIBRC": os.devnull,  # a damaged matplotlibrc would end the import
}
_REFUSED = (
    *("TF_USE_LEGACY_KERAS", "TF_XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "TF_SET_ONEDNN_FPMATH_MODE"),
    "TF_FUNCTION_JIT_COMPILE_DEFAULT",
    *("TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_CUDNN_USE_AUTOTUNE", "TF_DISABLE_MKL"),
    *("TF_ENABLE_AUTO_MIXED_PRECISION", "TF_ENABLE_CUDNN_TENSOR_OP_MATH_FP32", "TF_ENABLE_CUBLAS_TENSOR_OP_MATH_FP32"),
    *("TF_ENABLE_CUDNN_RNN_TENSOR_OP_MATH_FP32", "TF_FP16_CONV_USE_FP32_COMPUTE", "TF_FP16_MATMUL_USE_FP32_COMPUTE"),
    *("NVIDIA_TF32_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
)
# Flags in XLA_FLAGS that do not change results: the place of the CUDA tools, and dumps for debugging.
_HARMLESS_XLA_FLAGS = ("--xla_gpu_cuda_data_dir=", "--xla_dump_")
_RECORDED = (
    *("CUDA_", "CUDNN_", "DNNL_", "GRPC_", "HDF5_", "KERAS_", "KMP_", "LANG", "LC_", "MKL_", "NCCL_"),
    *("NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "TF_", "XLA_"),
)


def fix() -> None:
    """Sets the variables that TensorFlow, Keras and Matplotlib read at their import; must be called before it.

    Raises:
        UsageError: a variable would change the results.
    """
    changing = [name for name in _REFUSED if os.environ.get(name)]
    flags = os.environ.get("XLA_FLAGS", "").split()
    if not all(flag.startswith(_HARMLESS_XLA_FLAGS) for flag in flags):
        changing.append("XLA_FLAGS")
    if changing:
        text = ", ".join(f"{name}={os.environ[name]}" for name in changing)
        raise UsageError(f"the environment has {text}, which can change the results of runs; unset {' '.join(changing)}")
    ignore_user_files()


def ignore_user_files() -> None:
    """Has Keras and Matplotlib not read the files of the user; must be called before their import."""
    os.environ.update(_SETTINGS)


def recorded() -> dict[str, str]:
    """The variables of this process that the libraries read, for the record of an attempt."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(_RECORDED)}
