"""TensorFlow is imported without its start-up messages, unless the user asks for them, and without the user's Keras settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pianogen import logs
from tests.support.paths import ROOT

# Logging is configured as in a job, TensorFlow is imported, and its devices are initialized.
PROGRAM = """
import logging, sys
from pianogen import logs
logs.configure(verbose="--verbose" in sys.argv)
logs.import_tensorflow()
import tensorflow as tf
tf.function(lambda: tf.matmul(tf.ones((8, 8)), tf.ones((8, 8))), jit_compile=True)()
logging.getLogger("jobs").info("loaded TensorFlow")
"""


def standard_error(*arguments: str, **variables: str) -> list[str]:
    """The lines that the program writes to standard error."""
    inherited = {name: value for name, value in os.environ.items() if name != logs.VERBOSE and not name.startswith("TF_")}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=inherited | variables, capture_output=True, text=True, timeout=120, check=True)
    return done.stderr.splitlines()


def test_start_up_messages_are_silenced() -> None:
    lines = standard_error()
    assert len(lines) == 1, lines
    assert lines[0].endswith(" INFO loaded TensorFlow")


@pytest.mark.parametrize(("arguments", "variables"), [(["--verbose"], {}), ([], {logs.VERBOSE: "1"})], ids=["option", "variable"])
def test_start_up_messages_are_shown_when_verbose(arguments: list[str], variables: dict[str, str]) -> None:
    lines = standard_error(*arguments, **variables)
    assert lines[-1].endswith(" INFO loaded TensorFlow")
    assert any("Compiled cluster using XLA" in line for line in lines), lines


def test_settings_of_keras_are_those_of_the_program(tmp_path: Path) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"floatx": "float16", "epsilon": 0.5, "backend": "jax"}')
    program = (
        "from pianogen import logs; logs.import_tensorflow(); from keras.config import *; print(floatx(), epsilon(), backend())"
    )
    variables = os.environ | {"HOME": str(tmp_path), "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "float32 1e-07 tensorflow\n"


@pytest.mark.parametrize("is_verbose", [False, True], ids=["default", "verbose"])
def test_error_messages_of_the_import_are_shown(tmp_path: Path, is_verbose: bool) -> None:
    messages = "I0000 AVX2 is used\nE0000 libcudart.so is missing\n"  # the real ones depend on the processor
    (tmp_path / "tensorflow.py").write_text(f"import os; os.write(2, {messages.encode()!r}); raise ImportError('broken')")
    program = f"from pianogen import logs; logs.configure(verbose={is_verbose}); logs.import_tensorflow()"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "E0000 libcudart.so is missing\n" in done.stderr
    assert ("I0000 AVX2 is used\n" in done.stderr) == is_verbose
    assert "UsageError: TensorFlow cannot be loaded: broken; install the extra cpu" in done.stderr
