"""The commands of README.md and docs/ have valid arguments, their links exist, and the reference of formats is complete."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import jobs.collect
import jobs.decode
import jobs.listening_results
import jobs.sample
import jobs.sweep
import pianogen.store.__main__
import preprocess.__main__
from jobs.execution import launch
from jobs.listening.key import Key
from jobs.records import run_logs, status_table
from pianogen import command
from pianogen.errors import UsageError
from pianogen.midi.rejection import Reason
from pianogen.store import Pieces
from preprocess.ledger import COLUMNS
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_PREFIXES = ("pianogen ", "python -m ", "mpiexec ", "sbatch ")
_PROGRAMS = {f"python -m jobs.{name}": name for name in ("sweep", "sample", "decode", "collect")} | {
    "python -m jobs.listening_results": "listening-results",
    "python -m pianogen.store": "store",
    "python -m preprocess": "preprocess",
}


def commands() -> Iterator[tuple[str, str]]:
    """(page, command line) of every command in a code block; benchmarks have optional requirements, and are left out."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            text = line.strip()
            is_code = line.startswith("    ") and text.startswith(_PREFIXES)
            is_other = text.startswith("sbatch") and "slurm/preprocess.sh" not in text
            if is_code and not is_other and "…" not in text and "benchmarks." not in text:
                yield page.name, text


def arguments_of(line: str) -> list[str]:
    """The arguments of the command `pianogen` that are equal to a command line."""
    line = re.sub(r"^mpiexec .*? -m preprocess ", "pianogen preprocess ", line)
    line = re.sub(r"^sbatch .*?slurm/preprocess\.sh ", "pianogen preprocess ", line)
    for program, name in _PROGRAMS.items():
        line = line.replace(program, f"pianogen {name}")
    words = shlex.split(line, comments=True)
    assert words[0] == "pianogen", line
    return words[1:]


@pytest.fixture
def without_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Commands stop after they have parsed their arguments; returns the list of the calls."""
    calls: list[Any] = []

    def record(*arguments: Any) -> int:
        calls.append(arguments)
        return 0

    for module, names in {
        jobs.sweep: ("submit", "dry_run", "resubmit", "promote", "cancel"),
        status_table: ("show", "watch"),
        run_logs: ("show",),
        jobs.sample: ("_sample",),
        launch: ("check_cluster",),
        jobs.decode: ("_decode",),
        jobs.collect: ("_collect", "_choose_runs", "draw"),
        jobs.listening_results: ("_print_results",),
        Key: ("read",),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, record)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theme.mid").touch()  # the primer of the examples
    return calls


MAINS: dict[str, Callable[[list[str]], Any]] = {
    "sweep": jobs.sweep.main,
    "sample": jobs.sample.main,
    "decode": jobs.decode.main,
    "collect": jobs.collect.main,
    "listening-results": jobs.listening_results.main,
    "store": lambda arguments: pianogen.store.__main__._parse(arguments[0], "", arguments[1:]),
    "preprocess": preprocess.__main__._parse,
}


@pytest.mark.parametrize(("page", "line"), list(commands()))
@pytest.mark.usefixtures("without_actions")
def test_command_has_valid_arguments(page: str, line: str) -> None:
    name, *arguments = arguments_of(line)
    if name != "init":
        assert command.run(lambda rest: MAINS[name](list(rest)) and 0, arguments) in (0, None), page


def test_wrong_command_would_be_found(without_actions: list[Any]) -> None:
    with pytest.raises(UsageError, match="--zip is not an argument"):
        MAINS["decode"](["runs/mine", "--zip"])
    assert without_actions == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_reference_of_the_ledger_and_the_store_is_complete() -> None:
    page = (ROOT / "docs" / "preprocess.md").read_text(encoding="utf-8")
    columns = [field.name for field in fields(Pieces)]
    missing = [name for name in (*COLUMNS, *Reason, *columns) if f"`{name}`" not in page]
    assert missing == []
