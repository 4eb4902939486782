"""Decoding by real commands in real processes: the same files however many write them, and nothing half done."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from jobs import decode
from jobs.export import midi_files, process_pool
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.config import SamplingConfig
from pianogen.errors import PianogenError
from pianogen.roll import Roll
from pianogen.store import Split
from tests.programs.chunks import doubled, killed_at_three, refused_at_three
from tests.support.made_music import made_roll, store_of
from tests.support.made_sweep import draw
from tests.support.paths import ROOT
from tests.support.processes import ENVIRONMENT, descendants, finished, has_ended, wait_until
from tests.support.runs import create_runs
from tests.support.slurm_cluster import SlurmCluster

DECODE = [sys.executable, "-m", "jobs.decode"]
SETTINGS = SamplingConfig(num=3, steps=40)


def long_store(path: Path) -> Path:
    """A corpus of which two processes have enough to do; nearly all of it is rests."""
    steps = midi_files.STEPS_PER_PROCESS // 4
    rolls = []
    for seed in range(6):
        music = made_roll(seed, 200)
        packed = np.zeros((steps, 22), np.uint8)
        packed[:200] = packed[-200:] = music.packed
        rolls.append(Roll(packed, np.resize(music.tempo_us, steps)))
    return store_of(path, rolls, [Split.TRAIN] * len(rolls))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".stores.json"
    }


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """A sweep of two runs without samples."""
    corpus = store_of(tmp_path / "corpus.h5", [made_roll(1)], [Split.TRAIN])
    values = {"device": "cpu", "grid": {"model.name": ["base", "gru"]}}
    return create_runs(tmp_path / "runs" / "a sweep", corpus, values)


def test_two_processes_write_the_files_of_one(tmp_path: Path) -> None:
    store = long_store(tmp_path / "c.h5")
    for number in (1, 2):
        midi_files.write_folder([store], tmp_path / f"by {number}", number)
        midi_files.write_archive(store, tmp_path / f"{number}.zip", number)
    assert len(contents(tmp_path / "by 1")) == 13
    assert contents(tmp_path / "by 1") == contents(tmp_path / "by 2")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_order(count: int) -> None:
    assert list(process_pool.in_processes(doubled, range(40), count)) == list(range(0, 80, 2))


def test_killed_process_is_told() -> None:
    with pytest.raises(PianogenError, match="was killed"):
        list(process_pool.in_processes(killed_at_three, range(8), 2))


@pytest.mark.parametrize("count", [1, 2])
def test_error_is_that_of_the_work(count: int) -> None:
    with pytest.raises(PianogenError, match="three is refused"):
        list(process_pool.in_processes(refused_at_three, range(8), count))


def test_killed_decoding_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    store, out = long_store(tmp_path / "c.h5"), tmp_path / "c-midi"
    code = f"from jobs.export.midi_files import *; write_folder([Path({str(store)!r})], Path({str(out)!r}), 2)"
    with subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: any(out.rglob("*.mid")) or process.poll() is not None, "the first MIDI file")
        below = descendants(process.pid)
        process.kill()
    wait_until(lambda: all(map(has_ended, below)), "its processes end with it")
    midi_files.write_folder([store], out, 1)
    midi_files.write_folder([store], tmp_path / "wanted", 1)
    assert {name: data for name, data in contents(out).items() if ".tmp-" not in name} == contents(tmp_path / "wanted")


def test_run_is_decoded_with_the_samples_it_has_by_then(runs: list[Run]) -> None:
    outs = {str(run.path): str(run.path / "midi") for run in runs}
    with pytest.raises(PianogenError, match="has no samples"):
        decode.decode_job(str(runs[0].path), outs)
    draw(runs[0], SETTINGS, 0)
    draw(runs[0], SamplingConfig(num=1, steps=20, seed=4), 50, "samples-seed4.h5")
    (runs[0].path / "samples-seed5.h5.tmp-0123abcd.h5").write_bytes(b"what a killed writer has left")
    decode.decode_job(str(runs[0].path), outs)
    midi = runs[0].path / "midi"
    assert sorted(path.name for path in midi.glob("*.mid")) == [
        "samples-0000.mid",
        "samples-0001.mid",
        "samples-0002.mid",
        "samples-seed4-0000.mid",
    ]
    assert len((midi / "index.csv").read_text().splitlines()) == 5
    decode.decode_job(str(runs[0].path), outs, archive=True)
    with ZipFile(midi / "samples-seed4.zip") as archive:
        assert archive.namelist() == ["index.csv", "samples-seed4-0000.mid", "samples-seed4-0000.png"]


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_sweep_is_decoded_as_far_as_it_has_samples(runs: list[Run], cluster: str) -> None:
    sweep = runs[0].path.parent
    nothing = finished([*DECODE, str(sweep), "--cluster", cluster])
    assert nothing.returncode == 2
    assert "no run of" in nothing.stderr
    draw(runs[1], SETTINGS, 0)
    decoded = finished([*DECODE, str(sweep), "--cluster", cluster])
    assert decoded.returncode == 0, decoded.stderr
    assert "0000-base is waiting: it has no samples" in decoded.stdout
    assert len(contents(runs[1].path / "midi")) == 2 * 3 + 1
    elsewhere = sweep.parent / "elsewhere"
    assert finished([*DECODE, str(sweep), "--cluster", cluster, "--out", str(elsewhere)]).returncode == 0
    assert contents(elsewhere) == {f"0001-gru/{name}": data for name, data in contents(runs[1].path / "midi").items()}


def test_store_is_decoded_beside_itself(tmp_path: Path) -> None:
    store = long_store(tmp_path / "my corpus.h5")
    decoded = finished([*DECODE, str(store)])
    assert decoded.returncode == 0, decoded.stderr
    assert len(contents(tmp_path / "my corpus-midi")) == 13
    archived = finished([*DECODE, str(store), "--archive", "--cluster", "debug"])
    assert archived.stdout == f"{store} -> {tmp_path / 'my corpus-midi.zip'}\n"
    with ZipFile(tmp_path / "my corpus-midi.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(tmp_path / "my corpus-midi")
    assert finished([*DECODE, str(store), "--archive", "--out", str(tmp_path / "zips"), "--cluster", "debug"]).returncode == 0
    assert (tmp_path / "zips" / "my corpus-midi.zip").read_bytes() == (tmp_path / "my corpus-midi.zip").read_bytes()


def test_wrong_targets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(decode.main, [str(tmp_path / "none.h5")]) == 2
    assert "is not a sweep directory or a run" in capsys.readouterr().err
    (tmp_path / "x.h5").write_bytes(b"no store")
    assert command.run(decode.main, [str(tmp_path / "x.h5"), "--cluster", "debug"]) == 1
    assert "cannot be opened as HDF5" in capsys.readouterr().err


def test_slurm_decodes_a_sweep(slurm: SlurmCluster, runs: list[Run]) -> None:
    for run in runs:
        draw(run, SETTINGS, 0)
    sweep = runs[0].path.parent
    queued = slurm.run(*DECODE, str(sweep), "--archive", "--cluster", "slurm", cwd=ROOT, timeout_s=60)
    assert queued.returncode == 0, queued.stderr
    archives = [run.path / "midi" / "samples.zip" for run in runs]
    wait_until(lambda: all(path.exists() for path in archives), "both runs to be decoded")
    for archive in archives:
        with ZipFile(archive) as opened:
            assert len(opened.namelist()) == 1 + 2 * 3
