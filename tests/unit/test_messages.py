"""The help texts and error messages in tests/unit/expected/ are what the commands print.

PIANOGEN_UPDATE_EXPECTED=1 pytest -n 0 tests/unit/test_messages.py
writes the outputs of the present code to these pages.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.support import transcript
from tests.support.user_files import create_user_files

_EXPECTED = Path(__file__).parent / "expected"
_HELP, _MESSAGES = _EXPECTED / "help.md", _EXPECTED / "messages.md"
_NEW_ARGPARSE = pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse of this Python formats options differently")
_SHOULD_UPDATE = "PIANOGEN_UPDATE_EXPECTED"


@pytest.fixture(scope="module")
def user_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of the commands."""
    folder = tmp_path_factory.mktemp("user")
    create_user_files(folder)
    return folder


@pytest.fixture(scope="module")
def outputs() -> Iterator[dict[tuple[Path, str], str]]:
    """The outputs by page and command, which replace those of the pages if this was requested."""
    collected: dict[tuple[Path, str], str] = {}
    yield collected
    if os.environ.get(_SHOULD_UPDATE):
        for page in (_HELP, _MESSAGES):
            transcript.update(page, {command: output for (of, command), output in collected.items() if of == page})


def _cases(page: Path, *marks: pytest.MarkDecorator) -> Iterator[ParameterSet]:
    return (pytest.param(page, command, id=command, marks=marks) for command in transcript.commands(page))


@pytest.mark.parametrize(
    ("page", "command"),
    [
        *_cases(_HELP, _NEW_ARGPARSE),
        *_cases(_MESSAGES),
    ],
)
def test_output_is_the_expected_one(
    page: Path,
    command: str,
    user_files: Path,
    outputs: dict[tuple[Path, str], str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(user_files)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PATH", "")  # a machine without Slurm
    output = transcript.run(command, capfd, monkeypatch)
    outputs[page, command] = output
    if not os.environ.get(_SHOULD_UPDATE):
        assert output == transcript.expected_output(page, command)
