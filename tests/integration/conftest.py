"""A real Slurm for the tests that need one. Mark them xdist_group("slurm"), so that one worker runs them all, on one cluster."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from slurm_cluster import SlurmCluster, missing_programs

_PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurmdbd", "munge", "mariadb-server-core")


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A cluster of three nodes, n1 to n3, of four CPUs and two GPUs in name each."""
    if missing_programs() and os.geteuid() == 0 and shutil.which("apt-get"):
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
