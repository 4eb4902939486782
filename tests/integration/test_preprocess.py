"""The preprocessor as it is run: with and without MPI, killed and started again, and given what it must refuse."""

import csv
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pianogen.store import Split, Store
from preprocess.shard import read_entries
from tests.support.made_corpus import made_midi, made_midi_corpus, made_mixed_corpus
from tests.support.processes import (
    NO_SMALL_DISK,
    descendants,
    finished,
    has_ended,
    may_mount,
    mpi_rank,
    on_small_disk,
    preprocess_command,
    started,
    wait_until,
)

NUM_INPUTS = 37
RESUMED = re.compile(rf"resuming: (\d+) of {NUM_INPUTS} inputs were finished before")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_mixed_corpus(tmp_path_factory.mktemp("mixed") / "corpus")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_midi_corpus(tmp_path_factory.mktemp("small") / "corpus", 4)


@pytest.fixture(scope="module")
def small_store(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("small_store") / "a.h5"
    assert finished(preprocess_command(0, small, "--store", store)).returncode == 0
    return store


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store made by one process without mpiexec."""
    store = tmp_path_factory.mktemp("undisturbed") / "a.h5"
    done = finished(mixed_command(0, corpus, store))
    assert done.returncode == 0, done.stderr
    return store


def mixed_command(ranks: int, corpus: Path, store: Path, cpu_limit_s: int = 1) -> list[str]:
    return preprocess_command(ranks, corpus, "--store", store, "--max-rejects", 0.5, "--cpu-limit-s", cpu_limit_s)


def ledger_of(store: Path) -> Path:
    return store.with_suffix(".ledger.csv")


def contents(store: Path) -> tuple[bytes, bytes]:
    return store.read_bytes(), ledger_of(store).read_bytes()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_one_line(done: "subprocess.CompletedProcess[str]", code: int, *said: str) -> None:
    """It failed with this code and a message of one line, the last it wrote; nothing else of it looks like an accident."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    for part in said:
        assert part in lines[-1], done.stderr
    for accident in ("Traceback", "Abort", "BAD TERMINATION", "rank 1"):
        assert accident not in done.stderr + done.stdout


def test_every_input_is_accounted_for(corpus: Path, undisturbed: Path) -> None:
    with ledger_of(undisturbed).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert len(rows) == NUM_INPUTS
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    assert {row["name"]: row["reason"] for row in rows if row["status"] == "rejected"} == {
        "0 endless.musicxml": "timeout",
        "refused/broken.musicxml": "bad_score",
        "refused/cut.mid": "truncated",
        "refused/drums.mid": "no_notes",
        "refused/large.mid": "too_large",
        "refused/nowhere.mid": "unreadable",
        "refused/pipe.mid": "unreadable",
        "refused/text.mid": "not_midi",
    }
    assert {row["name"]: row["message"] for row in rows if row["status"] == "duplicate"} == {
        "A/00.mid": "equal to A/00 again.mid",
        "B/00 in other bytes.MID": "equal to A/00 again.mid",
    }
    with Store(undisturbed) as store:
        store.verify()
        assert store.pieces.name == [row["name"] for row in rows if row["status"] == "kept"]
        assert {"hostile/caf\\xe9.mid", "hostile/two\nlines.mid", "scores/scale.abc"} <= set(store.pieces.name)
        assert Counter(store.pieces.group) == {"A": 10, "B": 11, "hostile": 4, "scores": 2}
        assert "README.txt" not in store.pieces.name
        provenance = str(store.provenance)
    assert not any(part in provenance for part in (str(corpus), str(undisturbed), os.uname().nodename))


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_any_number_of_ranks_writes_the_bytes_of_one_process(corpus: Path, undisturbed: Path, tmp_path: Path, ranks: int) -> None:
    done = finished(mixed_command(ranks, corpus, tmp_path / "other name.h5"))
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "other name.h5") == contents(undisturbed)
    assert "37 inputs: 27 kept, 2 duplicates, 8 rejected" in done.stdout
    assert f"37 inputs, {ranks} rank" in done.stderr
    assert "resuming" not in done.stderr
    assert names_in(tmp_path) == {"other name.h5", "other name.ledger.csv"}


def num_finished(store: Path) -> int:
    shards = store.with_name(store.name + ".tmp-work").glob("shard-*")
    return sum(1 for shard in shards for _ in read_entries(shard))


def killed_in_the_middle(corpus: Path, store: Path, ranks: int, killed_rank: int | None) -> None:
    """Starts a run that one input would keep busy for an hour, and kills a rank or, with None, the launcher and its group."""
    with started(mixed_command(ranks, corpus, store, cpu_limit_s=3_600)) as launcher:
        wait_until(lambda: num_finished(store) >= 5, "some inputs are finished")
        below = descendants(launcher.pid)
        if killed_rank is None:
            os.killpg(launcher.pid, signal.SIGKILL)
        else:
            ranks_found = {mpi_rank(pid): pid for pid in reversed(below) if mpi_rank(pid) is not None}
            assert set(ranks_found) == set(range(ranks))
            os.kill(ranks_found[killed_rank], signal.SIGKILL)
        launcher.wait()
        assert launcher.returncode != 0
        wait_until(lambda: all(map(has_ended, below)), "no process of the killed run is left")
    assert not store.exists()


@pytest.mark.parametrize(("ranks", "killed_rank", "ranks_after"), [(2, None, 3), (3, 1, 0)])
def test_killed_run_is_resumed_with_other_ranks_to_the_same_bytes(corpus: Path, undisturbed: Path, tmp_path: Path, ranks: int, killed_rank: int | None, ranks_after: int) -> None:
    store = tmp_path / "a.h5"
    killed_in_the_middle(corpus, store, ranks, killed_rank)
    done_before = num_finished(store)
    assert 5 <= done_before < NUM_INPUTS
    done = finished(mixed_command(ranks_after, corpus, store))
    assert done.returncode == 0, done.stderr
    resumed = RESUMED.search(done.stderr)
    assert resumed, done.stderr
    assert int(resumed[1]) == done_before
    assert contents(store) == contents(undisturbed)
    assert names_in(tmp_path) == {"a.h5", "a.ledger.csv"}


def test_killed_run_leaves_the_old_store(corpus: Path, small: Path, small_store: Path, tmp_path: Path) -> None:
    store = Path(shutil.copy(small_store, tmp_path / "a.h5"))
    shutil.copy(ledger_of(small_store), ledger_of(store))
    before = contents(store)
    with started(mixed_command(0, corpus, store, cpu_limit_s=3_600)) as run:
        wait_until(lambda: len(descendants(run.pid)) == 2, "host and worker are at work")
        below = descendants(run.pid)
        run.kill()
    wait_until(lambda: all(map(has_ended, below)), "no process of the killed run is left")
    assert contents(store) == before
    # What the killed run left belongs to another corpus.
    done = finished(preprocess_command(0, small, "--store", store))
    assert done.returncode == 0, done.stderr
    assert contents(store) == before
    assert names_in(tmp_path) == {"a.h5", "a.ledger.csv"}


@pytest.mark.parametrize("marker", ["of_another_corpus", "none", "cut_off"])
def test_foreign_leftover_is_reported_and_removed(small: Path, small_store: Path, tmp_path: Path, marker: str) -> None:
    store = tmp_path / "a.h5"
    work = tmp_path / "a.h5.tmp-work"
    work.mkdir()
    (work / "shard-0123").write_bytes(b"of another corpus")
    if marker != "none":
        (work / "job.json").write_text('{"identity": "0123"}' if marker == "of_another_corpus" else '{"iden')
    (tmp_path / "a.h5.tmp-0123.h5").write_bytes(b"a store half written")
    done = finished(preprocess_command(0, small, "--store", store))
    assert done.returncode == 0, done.stderr
    assert f"removing unfinished work on another corpus, other options or another version: {work}" in done.stderr
    assert "resuming" not in done.stderr
    assert contents(store) == contents(small_store)
    assert not work.exists()


def test_too_many_rejects_stop_the_store_and_keep_ledger_and_work(small: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(small, corpus)
    for number in range(2):
        (corpus / f"{number}.mid").write_text("this is no music")
    (tmp_path / "out").mkdir()
    store = tmp_path / "out/a.h5"
    store.write_bytes(b"the old store")
    command = preprocess_command(2, corpus, "--store", store)
    done = finished(command)
    assert_one_line(done, 1, "PreprocessError: 2 of 6 inputs were refused (2 not_midi), more than --max-rejects 0.1 allows")
    assert store.read_bytes() == b"the old store"
    assert ledger_of(store).read_text().count("not_midi") == 2
    done = finished([*command, "--max-rejects", "0.4"])
    assert done.returncode == 0, done.stderr
    assert "resuming: 6 of 6 inputs were finished before" in done.stderr
    assert names_in(tmp_path / "out") == {"a.h5", "a.ledger.csv"}
    with Store(store) as made:
        assert len(made.pieces) == 4


WRONG = {
    "missing_corpus": (["none", "--store", "a.h5"], "UsageError: none does not exist"),
    "empty_corpus": (["empty", "--store", "a.h5"], "UsageError: empty holds no input"),
    "unknown_bundled_corpus": (
        ["music21:nonsense", "--store", "a.h5"],
        "music21:nonsense is not bundled with music21; there are: ",
    ),
    "corpus_given_twice": (["corpus", "corpus", "--store", "a.h5"], "UsageError: two inputs are named A/00.mid"),
    "missing_store_folder": (["corpus", "--store", "none/a.h5"], "UsageError: the folder of --store none/a.h5 does not exist"),
    "unknown_name_in_split_file": (
        ["corpus", "--store", "a.h5", "--split-file", "splits.csv"],
        "UsageError: splits.csv:2: no input is",
    ),
    "unknown_parser": (["corpus", "--store", "a.h5", "--parser", "mido"], "'mido' (choose from 'smf', 'music21')"),
    "share_over_1": (
        ["corpus", "--store", "a.h5", "--max-rejects", "10"],
        "argument --max-rejects: '10' is not a share from 0 to 1",
    ),
    "share_that_is_no_number": (["corpus", "--store", "a.h5", "--max-rejects", "ten"], "argument --max-rejects: "),
    "share_nan": (["corpus", "--store", "a.h5", "--max-rejects", "nan"], "argument --max-rejects: 'nan' is not a share"),
    "no_time": (
        ["corpus", "--store", "a.h5", "--cpu-limit-s", "0"],
        "argument --cpu-limit-s: '0' is not a whole number of seconds",
    ),
    "time_without_end": (
        ["corpus", "--store", "a.h5", "--cpu-limit-s", "9999999"],
        "whole number of seconds from 1 to 86400",
    ),
    "store_is_a_folder": (["corpus", "--store", "empty"], "--store 'empty' names a folder"),
    "store_is_here": (["corpus", "--store", "."], "--store '.' names a folder"),
    "store_is_above": (["corpus", "--store", ".."], "--store '..' names a folder"),
    "unknown_option": (["corpus", "--store", "a.h5", "--max-reject", "0"], "unrecognized arguments: --max-reject"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_usage_is_one_line_and_exit_2_and_nothing_is_written(small: Path, tmp_path: Path, wrong: str) -> None:
    arguments, said = WRONG[wrong]
    shutil.copytree(small, tmp_path / "corpus")
    (tmp_path / "empty").mkdir()
    (tmp_path / "splits.csv").write_text("name,split\nnone.mid,train\n")
    before = names_in(tmp_path)
    done = finished(preprocess_command(0, *arguments), tmp_path)
    assert_one_line(done, 2, said)
    assert done.stdout == ""
    assert names_in(tmp_path) == before


def test_wrong_usage_of_many_ranks_is_said_once(tmp_path: Path) -> None:
    done = finished(preprocess_command(3, tmp_path / "none", "--store", tmp_path / "a.h5"))
    assert_one_line(done, 2, f"UsageError: {tmp_path}/none does not exist")
    assert len(done.stderr.splitlines()) == 1
    assert not names_in(tmp_path)


def test_limits_of_the_site_cost_no_input(small: Path, small_store: Path, tmp_path: Path) -> None:
    """A hard limit that may not be raised, as login nodes have them."""
    limits = ["prlimit", "--cpu=3600", "--as=3500000000"]
    unprivileged = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"] if os.geteuid() == 0 else []
    done = finished([*limits, *unprivileged, *preprocess_command(0, small, "--store", tmp_path / "a.h5")])
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "a.h5") == contents(small_store)


def test_store_without_a_train_split_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("name,split\nA/00.mid,valid\nB/01.mid,test\n")
    done = finished(preprocess_command(0, small, "--store", tmp_path / "a.h5", "--split-file", tmp_path / "splits.csv"))
    assert_one_line(done, 1, "PreprocessError: none of 4 pieces is in the train split")
    assert not (tmp_path / "a.h5").exists()


def test_split_file_decides(small: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("name,split\nA/00.mid,valid\nB/01.mid,test\nA/02.mid,train\n")
    done = finished(preprocess_command(0, small, "--store", tmp_path / "a.h5", "--split-file", tmp_path / "splits.csv"))
    assert done.returncode == 0, done.stderr
    with Store(tmp_path / "a.h5") as store:
        assert store.pieces.split.tolist() == [Split.VALID, Split.TRAIN, Split.TEST, Split.NONE]


@pytest.mark.parametrize("variable", ["PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_ranks_that_do_not_find_each_other_are_refused(small: Path, tmp_path: Path, variable: str) -> None:
    done = finished(preprocess_command(0, small, "--store", tmp_path / "a.h5"), **{variable: "2"})
    assert_one_line(done, 2, "UsageError: 2 ranks were launched and MPI connects 1")
    assert not names_in(tmp_path)


def test_rank_knows_its_world() -> None:
    program = "from preprocess.ranks import find_world; world = find_world(); print(f'{world.rank}/{world.size}\\n', end='')"
    command = preprocess_command(3)
    done = finished([*command[: command.index("-m")], "-c", program])
    assert (done.returncode, sorted(done.stdout.split())) == (0, ["0/3", "1/3", "2/3"])
    alone = finished([sys.executable, "-c", program])
    assert (alone.returncode, alone.stdout) == (0, "0/1\n")


def test_hostile_store_path_is_written(small: Path, tmp_path: Path) -> None:
    store = Path(os.fsdecode(os.fsencode(tmp_path) + b"/two words' \"caf\xe9\n.store.h5"))
    done = finished(preprocess_command(0, small, "--store", store), PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 0, done.stderr
    assert names_in(tmp_path) == {store.name, store.with_suffix(".ledger.csv").name}
    with Store(store) as made:
        made.verify()


def test_single_file_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(made_midi(0))
    (tmp_path / "splits.csv").write_text("name,split\na.mid,train\n")
    command = preprocess_command(0, tmp_path / "a.mid", "--store", tmp_path / "a.h5", "--split-file", tmp_path / "splits.csv")
    assert finished(command).returncode == 0
    with Store(tmp_path / "a.h5") as store:
        assert (store.pieces.name, store.pieces.group) == (["a.mid"], [""])


def test_full_disk_in_a_shard_is_told_and_leaves_the_old_store(small: Path, small_store: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the error comes from the same calls."""
    store = tmp_path / "store.h5"
    store.write_bytes(small_store.read_bytes())
    command = preprocess_command(0, small, "--store", store)
    done = finished(["prlimit", "--fsize=1000", *command])
    assert done.returncode == 1
    assert "cannot be written: File too large; make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert store.read_bytes() == small_store.read_bytes()
    assert finished(command).returncode == 0
    assert contents(store) == contents(small_store)


@pytest.mark.skipif(not may_mount(), reason=NO_SMALL_DISK)
def test_full_disk_in_the_store_is_told(small: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = shlex.join(preprocess_command(0, small, "--store", disk / "store.h5"))
    done = finished(on_small_disk(disk, "40k", f"{command}; code=$?; ls {shlex.quote(str(disk))}; exit $code"))
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.split() == ["store.h5.tmp-work", "store.ledger.csv"]
