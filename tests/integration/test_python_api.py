"""The Python API: the examples of docs/python.md, and what they do not show."""

import doctest
import io
import json
import shutil
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pianogen
from pianogen.errors import UsageError
from pianogen.store import Split
from pianogen.training.trained_model import TrainedModelError
from tests.support.made_corpus import made_midi
from tests.support.made_music import made_roll, made_store
from tests.support.paths import ROOT
from tests.support.processes import finished
from tests.support.runs import attempt, create_runs, prepare

SPLITS = [Split.TRAIN, Split.TRAIN, Split.VALID, Split.TEST]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store and a sweep of one finished run."""
    folder = tmp_path_factory.mktemp("api")
    store = made_store(folder / "corpus.h5", SPLITS)
    run = prepare(folder / "runs" / "small", store, training={"batch": 8, "max_iterations": 4})
    done = finished(attempt(run))
    assert done.returncode == 0, done.stderr
    return folder


def test_examples_of_the_documentation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    failures, examples = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert failures == 0
    assert examples > 20


def test_samples_equal_those_of_the_run(folder: Path) -> None:
    run = folder / "runs" / "small" / "0000-base"
    with pianogen.Store(run / "samples.h5") as store:
        assert list(store) == pianogen.load_model(run).sample(len(store))


def test_wrong_paths_and_settings_are_refused(folder: Path, tmp_path: Path) -> None:
    run = folder / "runs" / "small" / "0000-base"
    model = pianogen.load_model(run)
    with pytest.raises(UsageError, match="sample: temprature is not a key; did you mean temperature"):
        model.sample(1, temprature=1.0)
    with pytest.raises(UsageError, match="top_p"):
        model.sample(1, top_p=0.5)
    with pytest.raises(UsageError, match="is not the directory of a run"):
        pianogen.load_model(folder)
    with pytest.raises(UsageError, match="has no runs"):
        pianogen.read_results(run)
    with pytest.raises(UsageError, match="give the path of that store"):
        pianogen.load_model(run, made_store(tmp_path / "other.h5", SPLITS, steps=100))


@pytest.mark.parametrize("steps_per_quarter", [0, -1, 7, 4.0, "4"])
def test_other_steps_per_quarter_are_refused(tmp_path: Path, steps_per_quarter: Any) -> None:
    (tmp_path / "a.mid").write_bytes(made_midi(0, 40))
    with pytest.raises(UsageError, match=f"steps_per_quarter is {steps_per_quarter!r}, expected one of 4, 6, 8, 12, 16, 24"):
        pianogen.read_midi(tmp_path / "a.mid", steps_per_quarter)


def test_record_without_settings_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "0000-base").mkdir()
    (tmp_path / "0000-base" / "config.yaml").touch()
    (tmp_path / "0000-base" / "provenance.json").write_text("{}")
    with pytest.raises(UsageError, match="it has no section config"):
        pianogen.read_results(tmp_path)
    with pytest.raises(UsageError, match="it has no section config"):
        pianogen.load_model(tmp_path / "0000-base")


def test_ensemble_is_not_loaded_with_other_runs_than_its_own(tmp_path: Path) -> None:
    store = made_store(tmp_path / "corpus.h5", SPLITS)
    joint: dict[str, Any] = {"device": "cpu", "model": {"name": "joint"}}
    members = create_runs(tmp_path / "members", store, joint | {"grid": {"training.seed": [0, 1]}})
    ensemble = {"name": "joint", "ensemble": [str(run.path) for run in members]}
    (run,) = create_runs(tmp_path / "ensemble", store, {"device": "cpu", "model": ensemble})
    with pytest.raises(TrainedModelError, match=r"model\.keras cannot be read"):  # the members were not trained
        pianogen.load_model(run.path)
    shutil.rmtree(members[1].path)
    members[0].path.rename(members[1].path)
    create_runs(tmp_path / "other", store, joint | {"training.epochs": 50})[0].path.rename(members[0].path)
    with pytest.raises(UsageError, match=f"{members[0].path} has another training than when"):
        pianogen.load_model(run.path)
    run.write_provenance(replace(run.read_provenance(), members=[]))
    with pytest.raises(UsageError, match="records the trainings of 0 of the 2 runs"):
        pianogen.load_model(run.path)


def test_unfinished_run_has_settings_and_no_figures(folder: Path, tmp_path: Path) -> None:
    """A directory that a killed submission has left is not a run."""
    run = prepare(tmp_path / "sweep", folder / "corpus.h5")
    shutil.copytree(run.path, run.sweep / "0001-base")
    (run.sweep / "0001-base" / "config.yaml").unlink()
    (row,) = pianogen.read_results(tmp_path / "sweep")
    assert row["model.units"] == 8
    assert "loss" not in row


def test_figures_are_those_of_the_result(folder: Path) -> None:
    (row,) = pianogen.read_results(folder / "runs" / "small")
    result = json.loads((folder / "runs" / "small" / "0000-base" / "result.json").read_text())
    assert row["loss"] == result["loss"]
    assert (
        row["held_out.test.network.most_probable.onset_f1"] == result["held_out"]["test"]["network"]["most_probable"]["onset_f1"]
    )


def test_store_is_a_sequence_of_rolls(folder: Path) -> None:
    with pianogen.Store(str(folder / "corpus.h5")) as store:
        assert [len(roll) for roll in store] == store.pieces.steps.tolist()
        assert store[-1] == store[3] == store["B/003.mid"]
        assert "B/003.mid" in store
        assert "A/0.mid" not in store
        with pytest.raises(IndexError):
            store[4]
        with pytest.raises(KeyError, match=r"has no piece 'A/0\.mid'"):
            store["A/0.mid"]


def test_roll_is_shown_as_a_plot() -> None:
    roll = made_roll(0)
    assert (roll._repr_png_() or b"").startswith(b"\x89PNG")
    assert roll.rows(0, 0)._repr_png_() is None
    assert repr(roll.rows(0, 0)) == "Roll(0 steps, 0 notes, no tempo)"


def test_all_names_exist() -> None:
    assert [name for name in dir(pianogen) if not hasattr(pianogen, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'Rol'"):
        _ = pianogen.Rol


def test_wav_has_the_length_of_the_roll() -> None:
    roll = made_roll(0, 32)
    with wave.open(io.BytesIO(pianogen.wav(roll))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    seconds = roll.tempo_us.sum() / 1e6 / 4
    assert seconds <= len(samples) / 24_000 < seconds + 1
    assert np.abs(samples).max() == pytest.approx(0.9 * 32_767, rel=0.001)
