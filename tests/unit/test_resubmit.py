"""What `sweep resubmit` refuses before anything is queued or written."""

from pathlib import Path

import pytest

from jobs import sweep
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.runs import create_runs


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two runs that differ in their sampling, and were not started."""
    store = made_store(tmp_path / "corpus.h5", [Split.TRAIN])
    return create_runs(tmp_path / "sweep", store, {"device": "cpu", "grid": {"sampling.temperature": [0.9, 1.0]}})


def resubmit(runs: list[Run], *arguments: str) -> int:
    return command.run(sweep.main, ["resubmit", str(runs[0].sweep), "--cluster", "local", "--dry-run", *arguments])


def test_overrides_that_make_two_runs_equal_are_refused(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert resubmit(runs, "sampling.temperature=0.8") == 2
    assert "would make 0001-temperature1.0 equal to 0000-temperature0.9; override other settings" in capsys.readouterr().err
    assert resubmit(runs, "1", "sampling.temperature=0.9") == 2
    assert "would make 0001-temperature1.0 equal to 0000-temperature0.9" in capsys.readouterr().err


def test_store_that_is_missing_or_has_changed_is_refused(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "corpus.h5"
    store.unlink()
    assert resubmit(runs) == 2
    assert f"{store} does not exist, but {runs[0].path} was submitted with it; restore it" in capsys.readouterr().err
    made_store(store, [Split.TRAIN, Split.TRAIN])
    assert resubmit(runs) == 2
    assert f"{runs[0].path} was submitted with" in capsys.readouterr().err
    made_store(store, [Split.TRAIN])
    assert resubmit(runs) == 0
