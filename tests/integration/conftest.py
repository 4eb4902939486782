"""A real Slurm for the tests that need one."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from slurm_cluster import SlurmCluster, missing_programs

_PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurmdbd", "munge", "mariadb-server-core")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A cluster of three nodes, n1 to n3, of four CPUs and two GPUs in name each; every worker of pytest-xdist has its own."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        with (tmp_path_factory.getbasetemp().parent / "slurm-install.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # among workers
            if missing_programs():
                _install()
    if missing := missing_programs():
        reason = f"Slurm is not installed ({', '.join(missing)}); as root: apt-get install {' '.join(_PACKAGES)}"
        if os.environ.get("PIANOGEN_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with SlurmCluster() as cluster:
        yield cluster


def _install() -> None:
    apt = ["apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=120"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--no-install-recommends", *_PACKAGES]):
        subprocess.run([*apt, *command], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False)
