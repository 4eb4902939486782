"""jobs.sample draws only the samples that a run does not have yet; `tests/integration/test_sweep.py` draws some."""

from pathlib import Path
from typing import Any

import pytest

from jobs import sample
from jobs.records.run_directory import Run
from jobs.records.samples import find_drawn, hash_primer, memorization_file
from pianogen import command, logs
from pianogen.config import SamplingConfig
from pianogen.lock import LockError
from tests.support import fake_slurm
from tests.support.made_corpus import made_midi
from tests.support.made_sweep import made_sweep, write_made_samples

OWN = {"num": 3, "steps": 20, "temperature": 0.7, "threshold": 0.4}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with samples 0 to 2 of its own settings, 3 to 5 in another store, and 0 and 1 of another seed."""
    values = {"device": "cpu", "sampling": OWN}
    (run,) = made_sweep(tmp_path / "sweep", 1, 20, epochs=1, values=values)
    write_made_samples(run, settings(), 0)
    write_made_samples(run, settings(num=6), 30, "samples-num6.h5", first=3)
    write_made_samples(run, settings(num=2, seed=4), 60, "samples-num2-seed4.h5")
    return run


def settings(**changes: Any) -> SamplingConfig:
    return SamplingConfig(**OWN | changes)


def test_samples_of_the_same_settings_are_found_whatever_their_number(run: Run) -> None:
    own = {run.path / "samples.h5": [0, 1, 2], run.path / "samples-num6.h5": [3, 4, 5]}
    assert find_drawn(run, settings()) == find_drawn(run, settings(num=16)) == own
    assert find_drawn(run, settings(seed=4)) == {run.path / "samples-num2-seed4.h5": [0, 1]}
    assert find_drawn(run, settings(temperature=1.0)) == {}
    assert find_drawn(run, settings(steps=40)) == {}


def test_samples_of_a_primer_that_has_changed_are_not_taken_for_its_samples(run: Run, tmp_path: Path) -> None:
    primer, store = tmp_path / "theme.mid", run.path / "samples-primertheme.mid.h5"
    primer.write_bytes(b"theme")
    primed = settings(primer=str(primer))
    write_made_samples(run, primed, 90, store.name, primer_sha256=hash_primer(primed))
    assert list(find_drawn(run, primed)) == [store]
    primer.write_bytes(b"another theme")
    assert find_drawn(run, primed) == {}
    write_made_samples(run, primed, 90, store.name)  # as an earlier version
    assert list(find_drawn(run, primed)) == [store]


@pytest.mark.parametrize(
    ("options", "stores"),
    [
        (["--num", "3"], ["samples.h5"]),
        (["--num", "2"], ["samples.h5"]),
        (["--num", "6"], ["samples.h5", "samples-num6.h5"]),
        (["--num", "5", "--temperature", "0.7"], ["samples.h5", "samples-num6.h5"]),
        (["--num", "1", "--seed", "4"], ["samples-num2-seed4.h5"]),
        (["--seed", "0"], ["samples.h5"]),
    ],
)
def test_samples_that_exist_are_not_drawn_again(
    run: Run, capsys: pytest.CaptureFixture[str], options: list[str], stores: list[str]
) -> None:
    before = {path.name: path.read_bytes() for path in run.path.glob("*.h5")}
    assert command.run(sample.main, [str(run.path), *options]) == 0
    output = capsys.readouterr()
    assert sorted(output.out.splitlines()) == sorted(str(run.path / name) for name in stores)
    assert "samples to draw: 0; finished runs that have all samples with these settings: 1 of 1" in output.err
    assert {path.name: path.read_bytes() for path in run.path.glob("*.h5")} == before


def test_store_with_other_samples_is_not_overwritten(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.path / "samples.h5").unlink()
    assert command.run(sample.main, [str(run.path), "--num", "6"]) == 2
    expected = f"{run.path / 'samples-num6.h5'} exists, but does not have the samples 0 to 5 with the settings {{"
    assert expected in capsys.readouterr().err


def test_one_process_at_a_time_draws_samples_with_the_same_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> None:
        """The start of the work of a job, during which others begin."""
        monkeypatch.setattr(logs, "import_tensorflow", lambda: pytest.fail("the same samples are drawn twice"))
        with pytest.raises(LockError, match="with these settings are being drawn by process"):
            sample.draw_job(str(run.path), {"num": 9})
        monkeypatch.setattr(logs, "import_tensorflow", lambda: pytest.fail("others are drawn"))
        sample.draw_job(str(run.path), {"num": 9, "seed": 5})

    monkeypatch.setattr(logs, "import_tensorflow", start)
    with pytest.raises(pytest.fail.Exception, match="others are drawn"):
        sample.draw_job(str(run.path), {"num": 8})


def test_command_without_a_setting_names_the_next_action(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(sample.main, [str(run.path)]) == 2
    assert "pass --num for more samples, or a setting of new ones such as --seed" in capsys.readouterr().err


def test_each_run_draws_with_its_own_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run was trained on a GPU, and two on CPUs: two arrays."""
    gpu = {"device": "gpu", "model.name": "gru", "slurm": {"gpus_per_node": "a100:2", "partition": "gpu", "runs_per_job": 2}}
    values = {"device": "cpu", "runs": [{}, gpu, {"training.seed": 1}], "training": {"batch": 2}}
    runs = made_sweep(tmp_path / "sweep", 1, 20, epochs=1, values=values)
    sbatch = f"cat \"${{@: -1}}\" >> {tmp_path / 'scripts'}; echo 'Submitted batch job 101'"
    scontrol = "echo 'ClusterName = c1'"
    fake_slurm.install(monkeypatch, tmp_path / "bin", sbatch=sbatch, scontrol=scontrol, squeue="true", srun="true", sacct="true")
    arguments = [str(runs[0].sweep), "--seed", "4", "--cluster", "slurm"]
    assert command.run(sample.main, arguments) == 2
    assert f"{runs[0].path} has no model.keras, from which samples are drawn; restore it" in capsys.readouterr().err
    for run in runs:
        (run.path / "model.keras").touch()
    assert command.run(sample.main, arguments) == 0
    assert capsys.readouterr().out.startswith("queued 2 jobs: 101_0 to 101_1\nqueued 1 job: 101 to 101\n")
    on_cpus, on_gpu = (tmp_path / "scripts").read_text().split("#!/bin/bash")[1:]
    assert "partition" not in on_cpus
    assert "#SBATCH --partition=gpu" in on_gpu
    assert "#SBATCH --gpus-per-node=a100:1" in on_gpu


@pytest.mark.parametrize(
    ("names", "start"),
    [
        ([f"{'theme' * 50}{number}.mid" for number in range(2)], "samples-primerthemetheme"),
        (["e\u0301tude.mid", "prélude.mid"], "samples-primer"),
        (["素描.mid", "夜曲.mid"], "samples-primer"),
        (["素描" * 40 + "1.mid", "素描" * 40 + "2.mid"], "samples-primer素描素描"),
    ],
)
def test_name_of_a_store_distinguishes_primers_and_is_shortened(
    run: Run, tmp_path: Path, names: list[str], start: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the samples are drawn: their files could not be written."""
    primers = [tmp_path / name for name in names]
    (run.path / "model.keras").touch()
    fake_slurm.install(
        monkeypatch,
        tmp_path / "bin",
        **{"sbatch": "echo Submitted batch job 1", "scontrol": "echo ClusterName = c1"},
        **dict.fromkeys(("squeue", "srun", "sacct"), "true"),
    )
    stores = set()
    for primer in primers:
        primer.write_bytes(made_midi(1))
        assert command.run(sample.main, [str(run.path), "--primer", str(primer), "--cluster", "slurm"]) == 0
        stores.add(Path(capsys.readouterr().out.splitlines()[-1]))
    assert len(stores) == 2
    for store in stores:
        assert store.name.startswith(start)
        assert "_" not in store.name
        memorization_file(store).touch()
        store.with_name(f"{store.stem}-0000.flac").touch()
