"""A sweep as its user runs it: submit, status, sample, decode and collect, by real commands in real processes."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from music21.midi import MidiFile

from benchmarks import music
from jobs import collect, decode, sample, sweep
from jobs.configuration import grid
from jobs.records.run_directory import Run
from jobs.records.samples import read_memorization
from pianogen import command
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.writer import write_midi
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, made_store
from tests.support.paths import ROOT
from tests.support.processes import descendants, finished, has_ended, started, wait_until
from tests.support.runs import attempt, create_runs, iteration_of, state_of
from tests.support.terminal import run_in_terminal

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


def submission(sweep_file: Path, store: Path, out: Path, *more: str) -> list[str]:
    """The arguments of jobs.sweep that train a sweep on this machine; the smoke test has tests of its own."""
    return ["submit", *map(str, (sweep_file, "--store", store, "--out", out)), "--cluster", "local", "--no-check-models", *more]


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=200)


def assert_finished(run: Path) -> None:
    """A run of two epochs has every file of a run, and plausible figures."""
    names = {"config.yaml", "provenance.json", "metrics.csv", "tensorboard", "curves.png", "checkpoints", "model.keras"}
    assert names | {"samples.h5", "result.json", "log"} <= {path.name for path in run.iterdir()}
    result = json.loads((run / "result.json").read_text())
    assert result["loss"] < result["constant_predictor_loss"] * 3
    assert list(result["held_out"]) == ["valid"]
    assert result["held_out"]["valid"]["network"]["nats_per_step"] > 0
    nats = {name: figures.get("nats_per_step") for name, figures in result["held_out"]["valid"]["trivial"].items()}
    unbeaten = [name for name in ("markov", "marginal") if result["held_out"]["valid"]["network"]["nats_per_step"] >= nats[name]]
    assert result["held_out"]["valid"]["unbeaten"]["nats_per_step"] == unbeaten
    assert all("collapse" in sample for sample in result["samples"])
    assert len(result["memorization"]["samples"]) == len(result["samples"])
    assert result["memorization"]["split"] == "valid"
    assert len(read_rows(run / "metrics.csv")) == 2


def assert_display(text: str, out: Path) -> None:
    """A terminal shows the checks, the runs while they train, their table, and the next commands."""
    for step in ("check: model 1 of 2: base", "check: model 2 of 2: gru", "check: one iteration and one sample"):
        assert step in text
    assert re.search(r"train \S+ 0/2 jobs .* running", text)
    for name in ("0000-base", "0001-gru"):
        assert re.search(rf"^{name} +starting", text, re.MULTILINE)
        assert re.search(rf"^{name} +2 of 2 +0\.\S+ +0\.\S+ +\S+ ", text, re.MULTILINE)
        assert re.search(rf" INFO {name}: done, epoch 2 of 2, loss 0\.\S+, valid loss 0\.", text)
    table = text[text.index("2 runs, 2 done") :]
    assert re.search(r"0000-base +done +2 .*\n.*0001-gru +done +2 ", table)
    *_, decode_line, collect_line = table.splitlines()
    assert decode_line.endswith(f"pianogen decode '{out}'")
    assert collect_line.endswith(f"pianogen collect '{out}' --out collected")


def draw_more_samples(run: Path, folder: Path) -> None:
    """Draws two samples of 24 steps after a primer, and two beside the three of a run."""
    primer = folder / "theme.mid"
    primer.write_bytes(write_midi(made_roll(40, 30)))
    drawn = python("-m", "jobs.sample", run, "--num", 2, "--steps", 24, "--primer", primer, "--seed", 7, "--cluster", "debug")
    assert drawn.returncode == 0, drawn.stderr
    more = python("-m", "jobs.sample", run, "--num", 5, "--cluster", "debug")
    assert more.stdout.splitlines() == [str(run / "samples.h5"), str(run / "samples-num5.h5")], more.stderr
    with Store(run / "samples.h5") as first, Store(run / "samples-num5.h5") as second:
        assert (first.pieces.name, second.pieces.name) == (["0000", "0001", "0002"], ["0003", "0004"])
        records = [json.loads(text) | {"index": 0} for text in (*(first.pieces.sample or ()), *(second.pieces.sample or ()))]
        assert records == records[:1] * 5, "what is not given is the run's own setting"
    searched = read_memorization(Run(run), run / "samples-num5.h5")
    assert searched is not None
    assert (len(searched.samples), searched.split) == (2, "valid")


def assert_collected(out: Path, runs: Sequence[Path], collected: Path) -> None:
    """`collect` copies all MIDI files of two runs; the report has all of their samples."""
    assert command.run(collect.main, [str(out), "--out", str(collected)]) == 0
    rows = read_rows(collected / "index.csv")
    assert len(rows) == 3 + 2 + 2 + 3
    assert {row["seed"] for row in rows} == {"0", "7"}
    for row in rows:
        data = (collected / row["file"]).read_bytes()
        MidiFile().readstr(data)
        assert row["steps"] in ("40", "24")
    report = (collected / "report.html").read_text()
    assert all(run.name in report for run in runs)
    assert report.count('class="track"') - report.count('class="passage"') == 10


def assert_same_rolls(run: Path) -> None:
    """The MIDI files of the samples contain the samples."""
    with Store(run / "samples.h5") as samples:
        with_notes = {index: roll for index in range(3) if (roll := samples.roll(index)).num_notes}
        assert with_notes
        for index, roll in with_notes.items():
            decoded_roll, _ = read_roll(
                (run / "midi" / f"samples-{index:04d}.mid").read_bytes(), "x.mid", ReadOptions(keep_rests=True)
            )
            assert np.array_equal(decoded_roll.packed, roll.packed)
            assert np.array_equal(decoded_roll.tempo_us, roll.tempo_us)


def assert_measured(out: Path, runs: Sequence[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`benchmarks.music` prints the figures of the results."""
    capsys.readouterr()
    assert command.run(music.main, [str(out)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    results = [json.loads((run / "result.json").read_text()) for run in runs]
    assert [entry["valid"] for entry in figures["runs"]] == [
        result["held_out"]["valid"]["network"]["nats_per_step"] for result in results
    ]
    sets = {entry["samples"]: (entry["num"], entry["collapsed"], entry["outside"]) for entry in figures["samples"]}
    collapsed = sum(bool(entry["collapse"]) for entry in results[0]["samples"])
    assert sets["a sweep/0000-base/samples"] == (3, collapsed, None)  # the corpus is too small for a comparison
    assert sum(num for num, *_ in sets.values()) == 10


def test_sweep_from_store_to_midi(tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs" / "a sweep"
    (out / "jobs" / "smoke-test-killed" / "checkpoints").mkdir(parents=True)  # of a submission that was killed in its smoke test
    arguments = [*map(str, (small, "--store", store, "--out", out)), "--cluster", "local"]
    submitted = run_in_terminal([sys.executable, "-m", "jobs.sweep", "submit", *arguments])
    assert submitted.returncode == 0, submitted.text
    assert_display(submitted.text, out)
    assert list((out / "jobs").glob("smoke-test-*")) == []
    runs = [out / "0000-base", out / "0001-gru"]
    status = python("-m", "jobs.sweep", "status", out, "--json")
    assert [(row["run"], row["state"]) for row in json.loads(status.stdout)] == [(run.name, "done") for run in runs]
    for run in runs:
        assert_finished(run)

    draw_more_samples(runs[0], tmp_path)
    decoded = python("-m", "jobs.decode", out)
    assert decoded.returncode == 0, decoded.stderr
    assert_collected(out, runs, tmp_path / "collected")
    assert_same_rolls(runs[0])
    assert_measured(out, runs, capsys)

    # The same sweep again starts nothing; a sweep that grows keeps the numbers of its runs.
    again = python("-m", "jobs.sweep", "submit", small, "--store", store, "--out", out, "--cluster", "local")
    assert "2 done; 0 to start" in again.stdout
    grown = python(
        *("-m", "jobs.sweep", "submit", small, "--store", store, "--out", out, "--cluster", "debug", "--no-check-models"),
        "grid.training.seed=[1, 0]",
        "grid.model.name=[base]",
    )
    assert grown.returncode == 0, grown.stderr
    assert sorted(path.name for path in out.glob("0*")) == ["0000-base", "0001-gru", "0002-base-seed1"]


def test_ensemble_of_runs_is_evaluated_and_draws_samples(tmp_path: Path, store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    members = tmp_path / "members.yaml"
    members.write_text(
        "device: cpu\nmodel: {name: joint, units: 4}\ntraining: {max_iterations: 2, warmup_iterations: 0}\n"
        "sampling: {num: 1, steps: 8}\nslurm: {cpus_per_task: 1}\ngrid: {training.seed: [0, 1]}\n"
    )
    out = tmp_path / "members"
    assert command.run(sweep.main, submission(members, store, out)) == 0
    lines = capfd.readouterr().err
    assert "\x1b" not in lines
    for name in ("0000-seed0", "0001-seed1"):
        assert re.search(rf"INFO {name}: started\n(.*\n)*.*INFO {name}: done, epoch 2 of 2, loss \d", lines), lines
    runs = [str(out / name) for name in ("0000-seed0", "0001-seed1")]
    ensemble = tmp_path / "ensemble.yaml"
    ensemble.write_text(
        f"device: cpu\nmodel: {{name: joint, ensemble: [{', '.join(runs)}]}}\nsampling: {{num: 2, steps: 8}}\n"
        "slurm: {cpus_per_task: 1}\n"
    )
    other = made_store(tmp_path / "other.h5", SPLITS[1:])
    arguments = ["submit", str(ensemble), "--out", str(tmp_path / "out"), "--cluster", "local", "--store"]
    assert command.run(sweep.main, [*arguments, str(other)]) == 2
    assert f"model.ensemble: {runs[0]} was trained on {store} with fingerprint" in capfd.readouterr().err
    assert command.run(sweep.main, [*arguments, str(store), "--no-check-models"]) == 0
    (run,) = (tmp_path / "out").glob("0*")
    result = json.loads((run / "result.json").read_text())
    single = [json.loads((Path(member) / "result.json").read_text()) for member in runs]
    assert result["parameters"] == sum(member["parameters"] for member in single)
    nats = [member["held_out"]["valid"]["network"]["nats_per_step"] for member in (*single, result)]
    assert nats[2] < sum(nats[:2]) / 2
    assert state_of(Run(run))[0] == "done"
    assert command.run(decode.main, [str(tmp_path / "out")]) == 0
    assert command.run(collect.main, [str(tmp_path / "out"), "--out", str(tmp_path / "collected")]) == 0
    assert len(read_rows(tmp_path / "collected" / "index.csv")) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)], ids=["ctrl-c", "closed"])
def test_signal_of_a_terminal_writes_a_checkpoint_of_every_running_run(
    tmp_path: Path, small: Path, store: Path, number: signal.Signals, code: int
) -> None:
    """A terminal sends Ctrl-C, and SIGHUP when it is closed, to all its processes at once."""
    out = tmp_path / "runs"
    arguments = ["-m", "jobs.sweep", *submission(small, store, out, "training.epochs=9999")]
    submitted = started([sys.executable, *arguments])
    runs = [Run(out / "0000-base"), Run(out / "0001-gru")]
    wait_until(lambda: (runs[0].path / "log" / "progress.json").is_file(), "the run to train")
    second = python(*arguments)
    assert second.returncode == 1
    assert f"{out} is being submitted by process {submitted.pid}" in second.stderr
    children = descendants(submitted.pid)
    os.killpg(submitted.pid, number)
    output, _ = submitted.communicate(timeout=100)
    assert submitted.returncode == code, output
    wait_until(lambda: all(has_ended(pid) for pid in children), "the processes to end")
    started_runs = [run for run in runs if run.read_provenance().attempts]
    assert runs[0] in started_runs
    for run in started_runs:
        assert_interrupted(run)


def assert_interrupted(run: Run) -> None:
    state, reason = state_of(run)
    assert state == "waiting"
    assert re.search(rf"\biteration {iteration_of(run)}\b", reason), reason
    assert reason.endswith("; not queued: resubmit to resume from the last checkpoint")


def test_cancelled_runs_of_a_local_sweep_do_not_start(
    tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    arguments = submission(small, store, out, "training.epochs=9999", "slurm.max_parallel=1")
    submitted = started([sys.executable, "-m", "jobs.sweep", *arguments])
    runs = [Run(out / "0000-base"), Run(out / "0001-gru")]
    wait_until(lambda: (runs[0].path / "log" / "progress.json").is_file(), "the run to train")
    assert command.run(sweep.main, ["cancel", str(out), "1", "--dry-run"]) == 0
    assert "0001-gru\n0 jobs, 1 waiting run and 0 processes of this machine would be cancelled" in capsys.readouterr().out
    assert command.run(sweep.main, ["cancel", str(out), "1"]) == 0
    assert "cancelled 0 jobs, 1 waiting run, and sent SIGTERM to 0 processes of this machine" in capsys.readouterr().out
    assert command.run(sweep.main, ["cancel", str(out)]) == 0
    assert "cancelled 0 jobs, and sent SIGTERM to 1 process of this machine" in capsys.readouterr().out
    output, _ = submitted.communicate(timeout=100)
    assert submitted.returncode == 1
    assert f"{runs[1].path}: cancelled before it started" in output
    assert_interrupted(runs[0])
    assert state_of(runs[1]) == ("waiting", "not submitted")


def prepare(tmp_path: Path, name: str, *overrides: str) -> Path:
    """A run that was submitted but not started."""
    path = tmp_path / f"{name}.yaml"
    path.write_text(SMALL)
    (run,) = create_runs(tmp_path / name, tmp_path / "corpus.h5", grid.load_sweep(path, overrides))
    return run.path


def test_reason_of_a_failed_run_is_reported(tmp_path: Path, small: Path, store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = submission(small, store, out, "training.learning_rate=1e30", "grid.model.name=[gru]")
    assert command.run(sweep.main, arguments) == 1
    error = capfd.readouterr().err
    assert "1 of 1 job failed" in error
    assert "the loss of iteration 2, in epoch 1, is NaN or infinite" in error
    (row,) = read_rows(out / "runs.csv")
    assert row["state"] == "failed"
    assert "the loss of iteration 2, in epoch 1, is NaN or infinite" in row["reason"]


def test_sweep_that_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path, small: Path, store: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a folder with modules of the user, and with an encoding that has not all characters of a path."""
    (tmp_path / "json.py").write_text("raise ImportError('a module of the user')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    primer = small.rename(tmp_path / "thème.yaml")
    small.write_text(primer.read_text())
    before = sorted(tmp_path.rglob("*"))
    arguments = ["submit", str(small), "--store", str(store), "--out", str(tmp_path / "runs" / "out"), "--cluster", "local"]
    assert command.run(sweep.main, [*arguments, "data.window_steps=4000"]) == 2
    assert "4001 steps of a window" in capfd.readouterr().err
    assert command.run(sweep.main, [*arguments, "training.batch=100000000"]) == 2
    assert "training.batch is 100,000,000: its windows take" in capfd.readouterr().err
    assert command.run(sweep.main, [*arguments, f"sampling.primer={primer}"]) == 2
    assert f"cannot read the primer {primer}" in capfd.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.bach=3"], "did you mean batch?"),
        (["training.epochs=some"], "training.epochs is 'some'"),
        (["model.name=[base]"], "grid.model.name="),
        (["nonsense"], "expected key=value"),
    ],
)
def test_wrong_configuration_is_refused_before_anything_is_written(
    tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], message: str
) -> None:
    arguments = ["submit", str(small), "--store", str(store), "--out", str(tmp_path / "out"), "--cluster", "local", *overrides]
    assert command.run(sweep.main, arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_paths_are_refused(tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def submit(path: Path, out: Path) -> tuple[int, str]:
        arguments = ["submit", str(small), "--store", str(path), "--out", str(out), "--cluster", "debug"]
        return command.run(sweep.main, arguments), capsys.readouterr().err

    code, error = submit(tmp_path / "none.h5", tmp_path / "out")
    assert code == 2
    assert "does not exist" in error
    code, error = submit(small, tmp_path / "out")
    assert code == 2
    assert "is not an HDF5 file; expected a store" in error
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    code, error = submit(store, other)
    assert code == 2
    assert "is not a sweep directory" in error
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    run = prepare(tmp_path, "mine", "training.seed=5")
    before = (run.parent / "sweep.yaml").read_bytes()
    code, error = submit(store, run.parent)
    assert code == 2
    assert "is the directory of another sweep" in error
    assert (run.parent / "sweep.yaml").read_bytes() == before
    assert command.run(sweep.main, ["status", str(other)]) == 2
    assert command.run(decode.main, [str(other)]) == 2
    assert command.run(collect.main, [str(run.parent), "--out", str(tmp_path / "c")]) == 2
    assert command.run(sample.main, [str(run.parent)]) == 2


def test_run_refuses_a_store_that_has_changed(tmp_path: Path, store: Path) -> None:
    run = prepare(tmp_path, "mine")
    made_store(store, [Split.TRAIN] * 3)
    assert finished(attempt(Run(run))).returncode == 1
    assert "was submitted with" in str(Run(run).read_provenance().attempts[0].error)


def test_submission_without_slurm_names_the_alternative(
    tmp_path: Path, small: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["submit", str(small), "--store", str(store), "--out", str(tmp_path / "out")]
    assert command.run(sweep.main, arguments) == 2
    assert "--cluster local" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


REPORTS_TENSORFLOW = """
import sys
from jobs import sweep
from pianogen import command
code = command.run(sweep.main)
print("TensorFlow", "imported" if "tensorflow" in sys.modules else "not imported")
sys.exit(code)
"""


def test_status_and_dry_run_do_not_import_tensorflow_and_a_dry_run_writes_nothing(
    tmp_path: Path, small: Path, store: Path
) -> None:
    """A dry run tries the models in a process of its own; the command itself stays light."""
    run, out = prepare(tmp_path, "mine"), tmp_path / "out"
    for arguments, line in (
        (["status", run.parent], "0000-base"),
        (["submit", small, "--store", store, "--out", out, "--cluster", "local", "--dry-run"], "2 runs"),
    ):
        done = python("-c", REPORTS_TENSORFLOW, *arguments)
        assert done.returncode == 0, done.stderr
        assert line in done.stdout
        assert done.stdout.splitlines()[-1] == "TensorFlow not imported"
    assert not out.exists()
