"""The cache of compiled kernels: many processes at once, other processors, copied and changed sources, read-only folders."""

import json
import logging
import os
import resource
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numba
import pytest

from pianogen import kernel_cache
from tests.support.paths import PROGRAMS, ROOT


@dataclass(frozen=True)
class Result:
    """What tests/programs/kernels.py prints: the cache folder, the number of compiled kernels, and a roll in hex."""

    folder: Path
    num_compiled: int
    roll: str


def start(installation: Path, *arguments: object, **variables: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "PYTHONPATH": str(installation),
        "XDG_CACHE_HOME": str(installation.parent / "cache"),
        **variables,
    }
    if "NUMBA_CACHE_DIR" not in variables:
        environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, str(PROGRAMS / "kernels.py"), *map(str, arguments)]
    return subprocess.Popen(command, cwd=installation.parent, env=environment, stdout=subprocess.PIPE, text=True)


def result_of(process: "subprocess.Popen[str]") -> Result:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    values = json.loads(output)
    return Result(Path(values["folder"]), values["num_compiled"], values["roll"])


def install(target: Path) -> Path:
    """An installation without compiled kernels."""
    shutil.copytree(ROOT / "pianogen", target / "pianogen", ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose cache has the kernels for the processor of this machine.

    They are copied from the cache of this machine, because it takes a minute to compile them.
    """
    folder = tmp_path_factory.mktemp("kernels")
    compiled = result_of(start(ROOT, XDG_CACHE_HOME=str(kernel_cache.FOLDER.parent)))
    shutil.copytree(compiled.folder, folder / "cache" / compiled.folder.name)
    return install(folder / "site")


@pytest.fixture(scope="module")
def own(installation: Path) -> Result:
    """The result of a process in the installation."""
    return result_of(start(installation))


@pytest.fixture(scope="module")
def results(installation: Path) -> list[Result]:
    """The results of five processes that start together on another processor, for which nothing has been compiled."""
    return [result_of(process) for process in [start(installation, NUMBA_CPU_NAME="generic") for _ in range(5)]]


def test_one_of_many_processes_compiles(installation: Path, results: list[Result]) -> None:
    assert sorted(result.num_compiled > 0 for result in results) == [False] * 4 + [True]
    assert results[0].folder.is_relative_to(installation.parent / "cache")
    assert len({result.roll for result in results}) == 1


def test_copy_of_the_sources_uses_the_compiled_kernels(installation: Path, own: Result) -> None:
    assert own.num_compiled == 0
    assert result_of(start(install(installation.parent / "copy"))) == own


def test_another_processor_compiles_its_own_code_and_gives_the_same_roll(own: Result, results: list[Result]) -> None:
    assert any(result.num_compiled for result in results)
    assert {(result.folder, result.roll) for result in results} == {(own.folder, own.roll)}


@pytest.mark.parametrize(
    ("owner", "arguments"),
    [(f"{socket.gethostname()} 999999999", []), ("another-host 1", ["--wait-s", 0.2])],
    ids=["on_this_machine", "on_another_machine"],
)
def test_process_takes_over_from_one_that_died_while_it_compiled(
    installation: Path, own: Result, owner: str, arguments: list[object]
) -> None:
    for ready in list(own.folder.glob("ready-*")):
        ready.unlink()
        ready.with_name(ready.name.replace("ready", "compiling")).write_text(owner)
    assert result_of(start(installation, *arguments)).roll == own.roll
    assert list(own.folder.glob("ready-*"))


@pytest.mark.parametrize("source", ["roll.py", "window.py", "midi/events.py", "midi/smf.py", "data/windows.py"])
def test_changed_source_has_its_own_cache(tmp_path: Path, source: str) -> None:
    installation = install(tmp_path / "site")
    before = result_of(start(installation, "--only-folder")).folder
    with (installation / "pianogen" / source).open("a") as file:
        file.write("# changed\n")
    assert result_of(start(installation, "--only-folder")).folder != before


def test_cache_is_kept_where_it_can_be_written(tmp_path: Path) -> None:
    installation, user_cache, temporary = install(tmp_path / "site"), tmp_path / "cache", tmp_path / "tmp"
    temporary.mkdir()
    # A file in place of the folder, because permissions do not stop an administrator, who may run this test.
    user_cache.write_text("")
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(temporary)}
    assert result_of(start(installation, "--only-folder", **variables)).folder.is_relative_to(installation)
    shutil.rmtree(installation / "pianogen" / "__pycache__")
    (installation / "pianogen" / "__pycache__").write_text("")
    assert result_of(start(installation, "--only-folder", **variables)).folder.is_relative_to(temporary)


def test_folder_that_the_user_chooses_is_absolute_or_ignored(tmp_path: Path) -> None:
    """A relative NUMBA_CACHE_DIR is one of the working directory, and a relative XDG_CACHE_HOME is not valid."""
    installation = install(tmp_path / "site")
    (tmp_path / "file").write_text("")
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": "relative"}
    ignored = result_of(start(installation, "--only-folder", **variables))
    assert ignored.folder.is_relative_to(installation)
    assert not (tmp_path / "relative").exists()
    chosen = result_of(start(installation, "--only-folder", NUMBA_CACHE_DIR="mine", **variables))
    assert chosen.folder.is_relative_to(tmp_path / "mine")
    unusable = result_of(start(installation, "--only-folder", NUMBA_CACHE_DIR=str(tmp_path / "file"), **variables))
    assert unusable.folder.is_relative_to(installation)


def add(one: int, other: int) -> int:
    return one + other


def num_compiled() -> int:
    """The number of compiled kernels when a process calls `add`."""
    kernel = kernel_cache.kernel(add)
    assert kernel(1, 2) == 3
    return sum(kernel.stats.cache_misses.values())  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", [b"", bytes(64), b"text", b"\x80\x05K\x01."], ids=["empty", "zeros", "text", "number"])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, damage: bytes) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert [num_compiled(), num_compiled()] == [1, 0]
    (path,) = tmp_path.rglob(f"*{suffix}")
    path.write_bytes(damage)
    assert [num_compiled(), num_compiled()] == [1, 0]


def test_full_disk_costs_only_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        with caplog.at_level(logging.WARNING):
            assert [num_compiled(), num_compiled()] == [1, 1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caplog.text.count("cannot be written") == 1
    assert num_compiled() == 1
