"""jobs.decode as real commands in real processes: the same files with any number of processes, and no partial files."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from jobs import decode
from jobs.export import midi_files
from jobs.export.conversion import STEPS_PER_PROCESS
from jobs.export.output_folder import OutputFolder
from jobs.export.process_pool import map_in_order
from jobs.records import run_processes
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.config import SamplingConfig
from pianogen.errors import PianogenError
from pianogen.lock import LockError
from pianogen.store import Split
from tests.programs.chunks import double, kill_process_at_three, raise_at_three
from tests.support.made_music import made_roll, store_of
from tests.support.made_sweep import write_made_samples
from tests.support.paths import ROOT
from tests.support.processes import ENVIRONMENT, descendants, finished, has_ended, wait_until
from tests.support.rolls import roll_in_4_4
from tests.support.runs import create_runs
from tests.support.slurm_cluster import SlurmCluster

DECODE = [sys.executable, "-m", "jobs.decode"]
SETTINGS = SamplingConfig(num=3, steps=40)


def long_store(path: Path) -> Path:
    """A corpus of enough steps for two processes; nearly all of it is rests."""
    steps = STEPS_PER_PROCESS // 4
    rolls = []
    for seed in range(6):
        music = made_roll(seed, 200)
        packed = np.zeros((steps, 22), np.uint8)
        packed[:200] = packed[-200:] = music.packed
        rolls.append(roll_in_4_4(packed, np.resize(music.tempo_us, steps)))
    return store_of(path, rolls, [Split.TRAIN] * len(rolls))


def contents(folder: Path) -> dict[str, bytes]:
    """The exported files of a folder by relative path, without the marker."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".pianogen.json"
    }


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """A sweep of two runs without samples."""
    corpus = store_of(tmp_path / "corpus.h5", [made_roll(1)], [Split.TRAIN])
    values = {"device": "cpu", "grid": {"model.name": ["base", "gru"]}}
    return create_runs(tmp_path / "runs" / "a sweep", corpus, values)


def test_number_of_processes_does_not_change_the_files(tmp_path: Path) -> None:
    store = long_store(tmp_path / "c.h5")
    for num_processes in (1, 2):
        midi_files.write_folder([store], OutputFolder(tmp_path / str(num_processes), "test"), num_processes)
        midi_files.write_archive(store, tmp_path / f"{num_processes}.zip", num_processes)
    assert len(contents(tmp_path / "1")) == 13
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


@pytest.mark.parametrize("num_processes", [1, 3])
def test_results_are_in_order(num_processes: int) -> None:
    assert list(map_in_order(double, range(40), num_processes)) == list(range(0, 80, 2))


def test_killed_worker_process_is_an_error() -> None:
    with pytest.raises(PianogenError, match="a worker process was killed"):
        list(map_in_order(kill_process_at_three, range(8), 2))


@pytest.mark.parametrize("num_processes", [1, 2])
def test_error_of_the_function_is_raised(num_processes: int) -> None:
    with pytest.raises(PianogenError, match="3 is not allowed"):
        list(map_in_order(raise_at_three, range(8), num_processes))


def test_killed_export_leaves_no_process_and_can_be_resumed(tmp_path: Path) -> None:
    store, out = long_store(tmp_path / "c.h5"), tmp_path / "c-midi"
    code = (
        f"from jobs.export.midi_files import *; write_folder([Path({str(store)!r})], OutputFolder(Path({str(out)!r}), 'test'), 2)"
    )
    with subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: any(out.rglob("*.mid")) or process.poll() is not None, "the first MIDI file")
        children = descendants(process.pid)
        process.kill()
    assert children
    wait_until(lambda: all(map(has_ended, children)), "the end of the worker processes")
    midi_files.write_folder([store], OutputFolder(out, "test"), 1)
    midi_files.write_folder([store], OutputFolder(tmp_path / "expected", "test"), 1)
    assert {name: data for name, data in contents(out).items() if ".tmp-" not in name} == contents(tmp_path / "expected")


def test_decoding_job_finds_the_samples_of_a_run_when_it_starts(runs: list[Run]) -> None:
    outputs = {str(run.path): str(run.path / "midi") for run in runs}
    with pytest.raises(PianogenError, match="has no samples"):
        decode.decode_job(str(runs[0].path), outputs)
    write_made_samples(runs[0], SETTINGS, 0)
    with run_processes.writing(runs[0], "midi", "midi"), pytest.raises(LockError, match="midi is being written by process"):
        decode.decode_job(str(runs[0].path), outputs)
    write_made_samples(runs[0], SamplingConfig(num=1, steps=20, seed=4), 50, "samples-seed4.h5")
    (runs[0].path / "samples-seed5.h5.tmp-0123abcd.h5").write_bytes(b"leftover of a killed process")
    decode.decode_job(str(runs[0].path), outputs)
    midi = runs[0].path / "midi"
    assert sorted(path.name for path in midi.glob("*.mid")) == [
        "samples-0000.mid",
        "samples-0001.mid",
        "samples-0002.mid",
        "samples-seed4-0000.mid",
    ]
    assert len((midi / "index.csv").read_text().splitlines()) == 5
    config = runs[0].read_config()  # the run is resubmitted with other sampling
    sampling = config.sampling.model_copy(update={"steps": 40})
    runs[0].write_provenance(runs[0].read_provenance().with_sampling(config.model_copy(update={"sampling": sampling})))
    decode.decode_job(str(runs[0].path), outputs, archive=True)
    with ZipFile(midi / "samples-seed4.zip") as archive:
        assert archive.namelist() == ["index.csv", "samples-seed4-0000.mid", "samples-seed4-0000.png"]


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_runs_without_samples_are_skipped(runs: list[Run], cluster: str) -> None:
    sweep = runs[0].path.parent
    refused = finished([*DECODE, str(sweep), "--cluster", cluster])
    assert refused.returncode == 2
    assert f"no run of {sweep} has samples" in refused.stderr
    write_made_samples(runs[1], SETTINGS, 0)
    decoded = finished([*DECODE, str(sweep), "--cluster", cluster])
    assert decoded.returncode == 0, decoded.stderr
    assert "0000-base is waiting and has no samples" in decoded.stderr
    assert len(contents(runs[1].path / "midi")) == 2 * 3 + 1
    elsewhere = sweep.parent / "elsewhere"
    other = elsewhere / ".jobs" / "decode-a1"  # of another command that is running
    other.mkdir(parents=True)
    assert finished([*DECODE, str(sweep), "--cluster", cluster, "--out", str(elsewhere)]).returncode == 0
    assert contents(elsewhere) == {f"0001-gru/{name}": data for name, data in contents(runs[1].path / "midi").items()}
    assert list((elsewhere / ".jobs").iterdir()) == [other]


def test_store_is_decoded_to_its_own_folder(tmp_path: Path) -> None:
    store, out = long_store(tmp_path / "my corpus.h5"), tmp_path / "my corpus-midi"
    out.mkdir()
    (out / "index.csv").write_text("mine")
    refused = finished([*DECODE, str(store)])
    assert refused.returncode == 2
    assert f"{out} exists and was not written by this program" in refused.stderr
    assert contents(out) == {"index.csv": b"mine"}
    (out / "index.csv").unlink()
    decoded = finished([*DECODE, str(store)])
    assert decoded.returncode == 0, decoded.stderr
    assert len(contents(out)) == 13
    assert sorted(tmp_path.iterdir()) == [out, store]
    archived = finished([*DECODE, str(store), "--archive", "--cluster", "debug"])
    assert archived.stdout == f"{store} -> {tmp_path / 'my corpus-midi.zip'}\n"
    with ZipFile(tmp_path / "my corpus-midi.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(tmp_path / "my corpus-midi")
    queued = tmp_path / "zips" / ".jobs" / "0000-decode"  # of another command, which its jobs still need
    queued.mkdir(parents=True)
    assert finished([*DECODE, str(store), "--archive", "--out", str(tmp_path / "zips"), "--cluster", "debug"]).returncode == 0
    assert queued.is_dir()
    assert (tmp_path / "zips" / "my corpus-midi.zip").read_bytes() == (tmp_path / "my corpus-midi.zip").read_bytes()


def test_invalid_targets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(decode.main, [str(tmp_path / "none.h5")]) == 2
    assert "does not exist; give the path of a sweep, a run or a store" in capsys.readouterr().err
    (tmp_path / "x.h5").write_bytes(b"not HDF5")
    assert command.run(decode.main, [str(tmp_path / "x.h5"), "--cluster", "debug"]) == 2
    assert "is not an HDF5 file" in capsys.readouterr().err


def test_slurm_decodes_a_sweep(slurm: SlurmCluster, runs: list[Run]) -> None:
    for run in runs:
        write_made_samples(run, SETTINGS, 0)
    sweep = runs[0].path.parent
    queued = slurm.run(*DECODE, str(sweep), "--archive", "--cluster", "slurm", cwd=ROOT, timeout_s=60)
    assert queued.returncode == 0, queued.stderr
    archives = [run.path / "midi" / "samples.zip" for run in runs]
    wait_until(lambda: all(path.exists() for path in archives), "the archives of both runs")
    for archive in archives:
        with ZipFile(archive) as opened:
            assert len(opened.namelist()) == 1 + 2 * 3
