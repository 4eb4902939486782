"""The benchmark of next-step likelihood, on generated sets of frames."""

import json
from pathlib import Path

import pytest

from benchmarks import nll
from pianogen import command
from tests.support.made_frames import write_sets

OVERRIDES = (
    "runs=[{data.groups: [JSB_Chorales]}]",
    "grid.model.copy=[true]",
    "model.units=4",
    "training.warmup_iterations=0",
    "training.max_iterations=2",
    "sampling.steps=1",
)


def test_figures_of_the_runs_stand_beside_the_published_ones(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_sets(tmp_path / "data")
    arguments = [str(tmp_path / "data"), *OVERRIDES, "--out", str(tmp_path / "out"), "--cluster", "local"]
    assert command.run(nll.main, arguments) == 0
    output = capfd.readouterr().out
    *_, last = output.splitlines()
    (run,) = json.loads(last)["runs"]
    assert (run["set"], run["copies"], run["seed"], run["left_out"]) == ("JSB_Chorales", True, 0, 1)
    assert run["cpu_min"] > 0
    rows = [line.split() for line in output.splitlines()]
    (ours,) = [row for row in rows if row[:3] == ["joint,", "with", "copies"]]
    assert ours[3:] == [f"{run['test']:.2f}", "–", "–", "–"]
    for published in nll.PUBLISHED:
        (row,) = [line for line in output.splitlines() if line.strip().startswith(published.model)]
        assert row.split()[-4:] == ["–" if value is None else f"{value:.2f}" for value in published.nats]

    results = list((tmp_path / "out" / "runs").glob("*/result.json"))
    before = [path.stat().st_mtime_ns for path in results]
    assert command.run(nll.main, arguments) == 0  # resumes: nothing is left to train
    assert [path.stat().st_mtime_ns for path in results] == before
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["runs"] == [run]
