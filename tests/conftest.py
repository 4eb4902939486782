"""The option --without-tensorflow of `make quick`, and the distribution of tests to the processes of pytest-xdist."""

import sys
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.support.import_graph import loads
from tests.support.paths import ROOT


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-tensorflow",
        action="store_true",
        help="leave out the test modules that import TensorFlow, and forbid its import",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--without-tensorflow"):
        sys.modules["tensorflow"] = None  # type: ignore[assignment]  # every import of it then raises ImportError


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("--without-tensorflow") and collection_path.match("test_*.py"):
        return _loads_tensorflow(collection_path) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the tests in the order of the time that their modules take, so that all processes are busy to the end.

    Those of Slurm come first: they take the longest, and most of that time they wait for Slurm. Modules that take seconds come
    last: the process that is the first without work then waits for seconds, not for minutes.
    """
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if _is_slurm(item.nodeid):
        return 0
    if "tests/integration/" in item.nodeid:
        return 1
    return 2 if _loads_tensorflow(item.path) else 3


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no type information
    """Distributes complete files, and all tests of Slurm to one process, so that they share one cluster."""

    def _split_scope(self, nodeid: str) -> str:
        return "slurm" if _is_slurm(nodeid) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def _is_slurm(nodeid: str) -> bool:
    return "test_slurm_" in nodeid


@cache
def _loads_tensorflow(path: Path) -> bool:
    """Whether the import of a test module also imports TensorFlow."""
    return loads(".".join(path.relative_to(ROOT).with_suffix("").parts), "tensorflow")
