"""Variables that change results are refused, others are recorded; plots do not depend on the user's matplotlibrc."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from pianogen import arithmetic
from pianogen.errors import UsageError
from pianogen.training.curves import draw_curves
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
        ("XLA_FLAGS", "--xla_dump_to=/tmp --xla_no_such_flag=1"),
        ("TF_XLA_FLAGS", "--tf_xla_auto_jit=2"),
        ("TF_ENABLE_ONEDNN_OPTS", "0"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
        ("TF_FUNCTION_JIT_COMPILE_DEFAULT", "1"),
    ],
)
def test_variable_that_changes_results_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{name}=.*unset {name}"):
        arithmetic.fix()


def test_other_variables_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"XLA_FLAGS": "--xla_gpu_cuda_data_dir=/opt/cuda", "KERAS_BACKEND": "jax", "HOME": "/h"})
    arithmetic.fix()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    recorded = arithmetic.recorded()
    assert recorded["XLA_FLAGS"] == "--xla_gpu_cuda_data_dir=/opt/cuda"
    assert "HOME" not in recorded


@pytest.mark.parametrize("first", ["from pianogen import arithmetic; arithmetic.fix()", "import jobs.report.axes"])
def test_damaged_matplotlibrc_of_the_user_is_not_read(tmp_path: Path, first: str) -> None:
    (tmp_path / "matplotlibrc").write_bytes(b"axes.facecolor: \xff\xfe\n")
    code = f"{first}; import matplotlib; print(matplotlib.matplotlib_fname())"
    environment = os.environ | {"MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{os.devnull}\n", "")


def test_curves_do_not_depend_on_the_settings_of_the_user(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "iteration": epoch, "loss": 1 / epoch, "error": epoch} for epoch in (1, 2)]
    draw_curves(rows, ["loss", "error"], tmp_path / "default.png")
    with matplotlib.rc_context({"text.usetex": True, "lines.linewidth": 9, "axes.facecolor": "black"}):
        draw_curves(rows, ["loss", "error"], tmp_path / "user.png")
        assert matplotlib.rcParams["lines.linewidth"] == 9
    assert (tmp_path / "user.png").read_bytes() == (tmp_path / "default.png").read_bytes()
