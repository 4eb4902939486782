"""A sweep as its user runs it: submitted, drawn from, decoded and collected, by real commands in real processes."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from made_music import made_roll, made_store
from music21.midi import MidiFile

from jobs import collect, decode, grid, rundir, sample, sweep
from pianogen import command
from pianogen.features import Features
from pianogen.midi_in import read_roll
from pianogen.midi_out import write_midi
from pianogen.store import Split, Store

ROOT = Path(__file__).parents[2]
SPLITS = [Split.TRAIN] * 4 + [Split.VALID]
SMALL = """\
device: cpu
model: {units: 16}
data: {window_steps: 16}
training: {epochs: 2, batch: 16}
sampling: {num: 3, steps: 40}
slurm: {cpus_per_task: 1}
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return made_store(tmp_path / "corpus.h5", SPLITS)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL + "grid: {model.name: [base, gru]}\n")
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=200)


def test_sweep_from_store_to_midi(tmp_path: Path, small: Path, store: Path) -> None:
    out = tmp_path / "runs" / "a sweep"
    submitted = python("-m", "jobs.sweep", "submit", small, "--store", store, "--out", out, "--cluster", "local")
    assert submitted.returncode == 0, submitted.stderr
    runs = [out / "0000-base", out / "0001-gru"]
    status = python("-m", "jobs.sweep", "status", out, "--json")
    assert [(row["run"], row["state"]) for row in json.loads(status.stdout)] == [(run.name, "done") for run in runs]
    for run in runs:
        names = {path.name for path in run.iterdir()}
        assert {
            "config.yaml",
            "provenance.json",
            "metrics.csv",
            "tensorboard",
            "curves.png",
            "checkpoints",
            "model.keras",
        } <= names
        assert {"samples.h5", "result.json", "log"} <= names
        result = json.loads((run / "result.json").read_text())
        assert result["loss"] < result["constant_predictor_loss"] * 3
        assert list(result["held_out"]) == ["valid"]
        assert result["held_out"]["valid"]["network"]["nats_per_step"] > 0
        assert all("collapse" in sample for sample in result["samples"])
        assert len(read_rows(run / "metrics.csv")) == 2

    primer = tmp_path / "theme.mid"
    primer.write_bytes(write_midi(made_roll(40, 30)))
    drawn = python("-m", "jobs.sample", runs[0], "--num", 2, "--steps", 24, "--primer", primer, "--seed", 7, "--cluster", "debug")
    assert drawn.returncode == 0, drawn.stderr
    decoded = python("-m", "jobs.decode", out)
    assert decoded.returncode == 0, decoded.stderr
    collected = tmp_path / "collected"
    assert command.run(collect.main, [str(out), "--out", str(collected)]) == 0
    rows = read_rows(collected / "index.csv")
    assert len(rows) == 3 + 2 + 3
    assert {row["seed"] for row in rows} == {"0", "7"}
    for row in rows:
        data = (collected / row["file"]).read_bytes()
        MidiFile().readstr(data)
        assert row["steps"] in ("40", "24")
    report = (collected / "report.html").read_text()
    assert all(run.name in report for run in runs)
    assert report.count("data:image/png;base64,") == 8
    with Store(runs[0] / "samples.h5") as samples:
        midi = (runs[0] / "midi" / "samples-0001.mid").read_bytes()
        if samples.roll(1).num_notes:
            kept, _ = read_roll(midi, "x.mid", keep_rests=True)
            assert np.array_equal(kept.packed, samples.roll(1).packed)
            assert np.array_equal(kept.tempo_us, samples.roll(1).tempo_us)

    # Submitted again, nothing is left to do; grown, what is there keeps its number.
    again = python("-m", "jobs.sweep", "submit", small, "--store", store, "--out", out, "--cluster", "local")
    assert "2 of them done" in again.stdout
    grown = python(
        *("-m", "jobs.sweep", "submit", small, "--store", store, "--out", out, "--cluster", "debug"),
        "grid.training.seed=[1, 0]",
        "grid.model.name=[base]",
    )
    assert grown.returncode == 0, grown.stderr
    assert sorted(path.name for path in out.glob("0*")) == ["0000-base", "0001-gru", "0002-base-seed1"]


def train(run: Path) -> subprocess.Popen[bytes]:
    code = f"from jobs.run import run_job; run_job({str(run)!r})"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def prepare(tmp_path: Path, name: str, *overrides: str) -> Path:
    """A run that is submitted and not started."""
    path = tmp_path / f"{name}.yaml"
    path.write_text(SMALL)
    values = grid.load_sweep(path, overrides)
    with Store(tmp_path / "corpus.h5") as store:
        (run,) = rundir.prepare_runs(tmp_path / name, values, grid.expand(values, path), store)
    return run.path


def weights(run: Path) -> list[np.ndarray]:
    assert Features  # model.keras needs it
    return keras.models.load_model(run / "model.keras").get_weights()


@pytest.mark.usefixtures("store")
def test_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    epochs = "training.epochs=12"
    undisturbed, killed = prepare(tmp_path, "undisturbed", epochs), prepare(tmp_path, "killed", epochs)
    assert train(undisturbed).wait(200) == 0
    process = train(killed)
    while not list(killed.glob("checkpoints/ckpt-*.index")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    attempt = json.loads((killed / "provenance.json").read_text())["attempts"][0]
    assert attempt["pid"] == process.pid
    assert not (killed / "result.json").exists()
    rows = json.loads(python("-m", "jobs.sweep", "status", killed.parent, "--json").stdout)
    assert rows[0]["state"] == "failed"
    assert "ended without a word" in rows[0]["reason"]
    assert train(killed).wait(200) == 0
    assert len(json.loads((killed / "provenance.json").read_text())["attempts"]) == 2
    assert all(np.array_equal(one, other) for one, other in zip(weights(undisturbed), weights(killed), strict=True))
    assert (undisturbed / "samples.h5").read_bytes() == (killed / "samples.h5").read_bytes()
    last = [read_rows(run / "metrics.csv")[-1] for run in (undisturbed, killed)]
    assert {name: float(last[0][name]) for name in last[0]} == pytest.approx({name: float(last[1][name]) for name in last[1]})


@pytest.mark.usefixtures("store")
def test_two_replicas_train_as_one_device(tmp_path: Path) -> None:
    one, two = prepare(tmp_path, "one"), prepare(tmp_path, "two", "logical_devices=2")
    assert train(one).wait(200) == 0
    assert train(two).wait(200) == 0
    for single, mirrored in zip(weights(one), weights(two), strict=True):
        assert np.allclose(single, mirrored, atol=1e-5)


def test_failed_run_says_why(tmp_path: Path, small: Path, store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["submit", str(small), "--store", str(store), "--out", str(out), "--cluster", "local", "data.window_steps=4000"]
    assert command.run(sweep.main, arguments) == 1
    assert "2 of 2 jobs failed" in capfd.readouterr().err
    rows = read_rows(out / "runs.csv")
    assert [row["state"] for row in rows] == ["failed", "failed"]
    assert all("4001 steps of a window" in row["reason"] for row in rows)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.bach=3"], "did you mean batch?"),
        (["training.epochs=some"], "training.epochs is 'some'"),
        (["model.name=[base]"], "grid.model.name="),
        (["nonsense"], "expected key=value"),
    ],
)
def test_wrong_configuration_is_refused_before_anything(
    tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], message: str
) -> None:
    arguments = ["submit", str(small), "--store", str(store), "--out", str(tmp_path / "out"), "--cluster", "local", *overrides]
    assert command.run(sweep.main, arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_places_are_refused(tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def submit(path: Path, out: Path) -> tuple[int, str]:
        arguments = ["submit", str(small), "--store", str(path), "--out", str(out), "--cluster", "debug"]
        return command.run(sweep.main, arguments), capsys.readouterr().err

    code, error = submit(tmp_path / "none.h5", tmp_path / "out")
    assert code == 1
    assert "does not exist" in error
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    code, error = submit(store, other)
    assert code == 2
    assert "is no sweep" in error
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    run = prepare(tmp_path, "mine", "training.seed=5")
    before = (run.parent / "sweep.yaml").read_bytes()
    code, error = submit(store, run.parent)
    assert code == 2
    assert "holds another sweep" in error
    assert (run.parent / "sweep.yaml").read_bytes() == before
    assert command.run(sweep.main, ["status", str(other)]) == 2
    assert command.run(decode.main, [str(other)]) == 2
    assert command.run(collect.main, [str(run.parent), "--out", str(tmp_path / "c")]) == 2
    assert command.run(sample.main, [str(run.parent)]) == 2


def test_changed_store_is_noticed_by_its_runs(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path, "mine")
    made_store(store, [Split.TRAIN] * 3)
    assert train(run).wait(100) != 0
    attempt = json.loads((run / "provenance.json").read_text())["attempts"][0]
    assert "was submitted with" in attempt["error"]


def test_no_slurm_is_told(
    tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["submit", str(small), "--store", str(store), "--out", str(tmp_path / "out")]
    assert command.run(sweep.main, arguments) == 2
    assert "--cluster local" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_dry_run_writes_nothing(tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["submit", str(small), "--store", str(store), "--out", str(out), "--cluster", "local", "--dry-run"]
    assert command.run(sweep.main, arguments) == 0
    assert "2 runs" in capsys.readouterr().out
    assert not out.exists()
