"""The option --without-tensorflow, which `make quick` uses."""

import sys
from pathlib import Path

import pytest

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
        module = ".".join(collection_path.relative_to(ROOT).with_suffix("").parts)
        return loads(module, "tensorflow") or None
    return None
