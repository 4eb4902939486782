"""The subcommands of sweeps: their arguments, and the selection of runs."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from jobs import console, sweep
from jobs.cluster.own_job import OwnJob
from jobs.configuration.options import find_options
from jobs.records import attempts, submissions, sweep_directory
from jobs.records.run_directory import Run
from jobs.records.selection import open_selected
from pianogen import command
from pianogen.errors import UsageError
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.processes import started
from tests.support.runs import create_runs

GRID = {"device": "cpu", "grid": {"model.name": ["base", "gru"], "training.batch": [64, 128]}}


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Runs 0 to 3: base with batches of 64 and 128, and gru with the same."""
    return create_runs(tmp_path / "sweep", made_store(tmp_path / "corpus.h5", [Split.TRAIN]), GRID)


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        ([], [0, 1, 2, 3]),
        (["2"], [2]),
        (["3", "0"], [0, 3]),
        (["1-2"], [1, 2]),
        (["2-9", "0"], [0, 2, 3]),
        (["model.name=gru"], [2, 3]),
        (["model.name=gru", "training.batch=128"], [3]),
        (["0-2", "training.batch=64"], [0, 2]),
        (["training.max_iterations=null"], [0, 1, 2, 3]),
        (["training={batch: 128, seed: 0}"], [1, 3]),
        (["device=cpu", "slurm.cpus_per_task=4", "model.name=gru"], [2, 3]),
    ],
)
def test_selection(runs: list[Run], selection: list[str], numbers: list[int]) -> None:
    assert open_selected(runs[0].sweep, selection) == [runs[number] for number in numbers]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("training.batch='64'", "has training.batch='64', found 64, 128"),
        ("model.name=", "found base, gru"),
        ("local_copy=true", "has local_copy=true, found False"),
        ("slurm.cpus_per_tsk=4", "did you mean slurm.cpus_per_task?"),
    ],
)
def test_selection_of_nothing_is_refused(runs: list[Run], selection: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_selected(runs[0].sweep, [selection])
    assert message in str(raised.value)


@pytest.mark.parametrize("subcommand", ["status", "resubmit", "promote", "cancel", "logs"])
def test_selection_is_not_required(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(sweep.main, [subcommand]) == 2
    assert "the following arguments are required: runs/NAME|RUN; see" in capsys.readouterr().err


def test_copy_of_a_run_under_another_name_has_no_number(runs: list[Run]) -> None:
    shutil.copytree(runs[2].path, runs[2].path.with_name("copy of run 2"))
    assert open_selected(runs[0].sweep, ["2"]) == [runs[2]]


def test_link_to_itself_is_not_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latest").symlink_to("latest")
    assert command.run(sweep.main, ["status", str(tmp_path / "latest")]) == 2
    assert "is not a sweep directory or a run" in capsys.readouterr().err


def test_run_that_is_a_link_to_another_disk_belongs_to_its_sweep(runs: list[Run], tmp_path: Path) -> None:
    runs[1].path.rename(tmp_path / "disk")
    runs[1].path.symlink_to(tmp_path / "disk")
    (tmp_path / "latest").symlink_to(runs[1].sweep)
    (tmp_path / "best").symlink_to(runs[2].path)
    for target in (runs[1].path, tmp_path / "latest" / runs[1].name):
        assert sweep_directory.open_runs(target) == [runs[1]]
    assert sweep_directory.open_runs(tmp_path / "best") == [runs[2]]


def test_folder_of_a_killed_submission_can_be_used_again(tmp_path: Path) -> None:
    for name in ("0000-train", "code-1f", "smoke-test-2e"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
    sweep_directory.check_ownership(tmp_path)
    (tmp_path / "jobs" / "thesis").mkdir()
    with pytest.raises(UsageError, match="is not a sweep directory"):
        sweep_directory.check_ownership(tmp_path)


def test_status_of_selected_runs_leaves_the_table_of_all_runs(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    out = runs[0].sweep
    assert command.run(sweep.main, ["status", str(out)]) == 0
    table = (out / "runs.csv").read_text()
    capsys.readouterr()
    assert command.run(sweep.main, ["status", str(out), "model.name=gru", "--json"]) == 0
    assert [row["run"] for row in json.loads(capsys.readouterr().out)] == ["0002-gru-batch64", "0003-gru-batch128"]
    assert (out / "runs.csv").read_text() == table


def test_dry_runs_start_and_cancel_nothing(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    out = runs[0].sweep
    before = sorted(path for path in out.rglob("*"))
    with submissions.exclusive(out):  # a dry run needs no lock, which a read-only sweep could not have
        assert command.run(sweep.main, ["resubmit", str(out), "0", "--cluster", "local", "--dry-run"]) == 0
    assert "1 of 1 run to start\nnothing was submitted or written" in capsys.readouterr().out
    assert command.run(sweep.main, ["cancel", str(out), "--dry-run"]) == 0
    assert "nothing was cancelled" in capsys.readouterr().out
    assert sorted(path for path in out.rglob("*")) == before


def test_runs_that_are_trained_in_one_process_have_equal_devices(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    def resubmit(*arguments: str) -> int:
        return command.run(sweep.main, ["resubmit", str(runs[0].sweep), *arguments, "--cluster", "debug", "--dry-run"])

    assert resubmit() == 0
    assert resubmit("logical_devices=2") == 2
    assert "4 runs cannot be trained in one process if they have several replicas" in capsys.readouterr().err
    assert resubmit("0", "logical_devices=2") == 0
    config = runs[0].read_config()
    slurm = config.slurm.model_copy(update={"cpus_per_task": 3})
    sweep_directory.write_config(runs[0], config.model_copy(update={"slurm": slurm}))
    assert resubmit("0", "1") == 2
    assert resubmit("1", "2") == 0


def test_followed_log_continues_with_that_of_the_next_attempt(runs: list[Run]) -> None:
    first = attempts.begin_attempt(runs[0], OwnJob(), "")
    first.write_text("one\n")
    process = started([sys.executable, "-m", "jobs.sweep", "logs", str(runs[0].path), "--follow"])
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [f"==> {first} <==\n", "one\n"]
    with first.open("a") as file:
        file.write("two\n")
    attempts.end_attempt(runs[0], interrupted="received a shutdown signal")
    second = attempts.begin_attempt(runs[0], OwnJob(), "")
    second.write_text("three\n")
    assert [process.stdout.readline() for _ in range(3)] == ["two\n", f"==> {second} <==\n", "three\n"]
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130


def test_followed_log_ends_with_its_reader(runs: list[Run]) -> None:
    attempts.begin_attempt(runs[0], OwnJob(), "").write_text("one\n")
    process = started([sys.executable, "-m", "jobs.sweep", "logs", str(runs[0].path), "--follow"])
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)][1] == "one\n"
    process.stdout.close()  # nothing is appended that would show it
    assert process.wait() == 0


def test_every_option_has_a_type_a_default_and_a_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    options = {option.key: option for option in find_options()}
    assert all(option.type and option.default and option.meaning for option in options.values())
    assert options["training.batch"].default == "64, for joint 8"
    assert options["training.patience"][1:3] == ("integer or null", "null")
    assert options["device"].default == "required"
    assert options["model.copy"][1:3] == ("true|false", "true")
    assert command.run(sweep.main, ["options", "checkpoints"]) == 0
    assert len(capsys.readouterr().out.split("\ncheckpoints.")) == 4
    assert command.run(sweep.main, ["options", "trainig"]) == 2


def test_shipped_files_are_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["pianogen", "init", str(tmp_path)])
    assert console.main() == 0
    assert (tmp_path / "sweeps" / "quick.yaml").is_file()
    assert (tmp_path / "slurm" / "preprocess.sh").is_file()
    assert console.main() == 2
    assert "exists; nothing was copied" in capsys.readouterr().err
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "slurm").symlink_to("moved")
    for name in ("file", "folder"):
        monkeypatch.setattr("sys.argv", ["pianogen", "init", str(tmp_path / name)])
        assert console.main() == 2
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["slurm"]
