"""Runs that differ in nothing but their seed: their groups, and the spread of their figures in the status of a sweep."""

import csv
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import sweep
from jobs.records.result import Result
from jobs.records.run_directory import Run
from jobs.records.seed_groups import Spread, find_spread, group_by_seed
from pianogen import command
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.runs import create_runs

SEEDS = {"device": "cpu", "grid": {"training.seed": [0, 1, 2], "model.name": ["base", "gru"]}}


def test_runs_are_grouped_by_all_settings_but_the_seed() -> None:
    settings = {
        "0000": {"model.name": "gru", "training.seed": 0, "data.groups": ["Bach"]},
        "0001": {"model.name": "gru", "training.seed": 1, "data.groups": ["Bach"]},
        "0002": {"model.name": "base", "training.seed": 0, "data.groups": ["Bach"]},
        "0003": {"training.seed": 2, "data.groups": ["Bach"], "model.name": "gru"},
        "0004": {"model.name": "gru", "training.seed": 0, "data.groups": ["Chopin"]},
    }
    assert group_by_seed(settings) == [["0000", "0001", "0003"], ["0002"], ["0004"]]


def test_spread_of_a_group() -> None:
    assert find_spread([1.0, 2.0, 6.0]) == Spread(3.0, math.sqrt(7))  # squares 4 + 1 + 9, over two degrees of freedom
    assert str(find_spread([1.61, 1.60, 1.59])) == "1.6 ± 0.01"
    assert str(find_spread([1.61])) == "1.61"
    assert find_spread([1.0, None]) is None
    assert find_spread([]) is None
    assert find_spread([1.0, math.nan]) is None
    assert find_spread([math.inf, 1.0]) is None


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Runs 0, 2 and 4 of the model base, which are done, and 1, 3 and 5 of gru, of which one is waiting."""
    runs = create_runs(tmp_path / "sweep", made_store(tmp_path / "corpus.h5", [Split.TRAIN]), SEEDS)
    for number, run in enumerate(runs[:5]):
        metrics = {"epoch": 1, "loss": 0.5 + number / 100, "valid_loss": 0.75}
        run.write_result(Result("ckpt-1", 1, 1, metrics, 0.75, None, {"valid": {"network": {"nats_per_step": 7.0 + number}}}, []))
    return runs


def test_status_shows_the_mean_and_spread_of_each_group(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(sweep.main, ["status", str(runs[0].sweep), "--seeds"]) == 0
    _, header, *lines = (re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines())
    assert header == ["runs", "settings", "done", "loss", "valid loss", "valid nats per step"]
    assert lines == [
        ["0 2 4", "model.name=base", "3 of 3", "0.52 ± 0.02", "0.75 ± 0", "9 ± 2"],
        ["1 3 5", "model.name=gru", "2 of 3"],
    ]
    assert command.run(sweep.main, ["status", str(runs[0].sweep), "model.name=base", "--seeds"]) == 0
    assert "settings" not in capsys.readouterr().out, "there is one group"
    shutil.copytree(runs[5].path, runs[5].path.with_name("copy"))
    assert command.run(sweep.main, ["status", str(runs[0].sweep), "--seeds"]) == 0
    assert " 1 3 5 copy " in capsys.readouterr().out


def test_means_stand_beside_trivial_predictors(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    """A run of an earlier version has a setting less than the others, and one more."""
    for number, run in enumerate(runs):
        held_out = {"network": {"nats_per_step": 7.0 + number}, "trivial": {"markov": {"nats_per_step": 9.5}}}
        run.write_result(Result("ckpt-1", 1, 1, {"loss": 0.5}, None, None, {"valid": held_out}, []))
    provenance = runs[5].read_provenance()
    settings = {name: value for name, value in provenance.config["data"].items() if name != "memory_mb"} | {"former": 7}
    runs[5].write_provenance(replace(provenance, config=dict(provenance.config) | {"data": settings}))
    assert command.run(sweep.main, ["status", str(runs[0].sweep), "--seeds"]) == 0
    _, _, *lines = (re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines())
    assert lines[0][-1] == "9 ± 2"
    assert lines[1][-1] == "9 ± 1.4"
    assert "data.former=null" in lines[0][1]
    assert "data.former=7" in lines[2][1]
    assert lines[2][-1] == "12 !"
    assert lines[3] == ["per-key Markov chain", "9.5"]
    assert lines[4] == ["! not better than a trivial predictor in the last rows"]


def test_table_has_the_spread_of_the_group_of_each_run(runs: list[Run]) -> None:
    assert command.run(sweep.main, ["status", str(runs[0].sweep)]) == 0
    with (runs[0].sweep / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed_group"] for row in rows] == ["0000-seed0-base", "0001-seed0-gru"] * 3
    assert [row["num_seeds"] for row in rows] == ["3"] * 6
    assert [row["valid_nats_per_step_mean"] for row in rows] == ["9.0", ""] * 3
    assert [row["valid_nats_per_step_std"] for row in rows] == ["2.0", ""] * 3
    assert rows[0]["valid_nats_per_step"] == "7.0"
