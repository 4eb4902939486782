"""Fixtures: a Slurm cluster and a browser. Missing packages are installed if pytest runs as root; otherwise tests are skipped."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.slurm_cluster import SlurmCluster, missing_programs

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_SLURM_PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurmdbd", "munge", "mariadb-server-core")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A cluster of three nodes, n1 to n3, each with four CPUs and two simulated GPUs, for all tests."""
    _install(tmp_path_factory, missing_programs, _SLURM_PACKAGES)
    if missing := missing_programs():
        _cannot_run(f"Slurm is not installed ({', '.join(missing)}); as root: apt-get install {' '.join(_SLURM_PACKAGES)}")
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """Headless Chromium."""
    _install(tmp_path_factory, lambda: [] if _find_chromium() else ["chromium"], ("chromium",))
    program = _find_chromium()
    if program is None:
        _cannot_run("Chromium is not installed; as root: apt-get install chromium")
    if find_spec("playwright") is None:
        _cannot_run("playwright is not installed; pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Each new window would load pages for the popups of its address bar, which take longer than the page of a test.
        options = ["--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup"]
        chromium = playwright.chromium.launch(executable_path=program, args=options)
        yield chromium
        chromium.close()


def _find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _install(factory: pytest.TempPathFactory, missing: Callable[[], Sequence[str]], packages: Sequence[str]) -> None:
    """Installs missing system packages if this process is root; only one process of pytest-xdist installs at a time."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    with (factory.getbasetemp().parent / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not missing():
            return
        apt = ["apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=120"]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--no-install-recommends", *packages]):
            subprocess.run(
                [*apt, *command], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False
            )


def _cannot_run(reason: str) -> NoReturn:
    if os.environ.get("PIANOGEN_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
