"""Preprocessing as a command: with and without MPI, killed and resumed, and with wrong arguments."""

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

import h5py
import pytest

from pianogen.lock import BatchJob
from pianogen.store import Split, Store
from preprocess.world import batch_job
from tests.support.made_corpus import made_midi, made_midi_corpus, made_mixed_corpus
from tests.support.made_music import made_store
from tests.support.processes import (
    NO_SMALL_DISK,
    descendants,
    finished,
    has_ended,
    may_mount,
    mpi_command,
    mpi_rank,
    on_small_disk,
    preprocess_command,
    started,
    wait_until,
)
from tests.support.shard_files import read_shard

NUM_INPUTS = 37
RESUMED = re.compile(rf"resuming: (\d+) of {NUM_INPUTS} inputs are already finished")


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
    """The store that one process writes without MPI and without interruption."""
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


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def assert_failed(done: "subprocess.CompletedProcess[str]", exit_code: int, message: str) -> None:
    """The command ended with this exit code and with a message of one line, and without a traceback or an abort by MPI."""
    assert done.returncode == exit_code, done.stderr
    assert message in done.stderr.splitlines()[-1], done.stderr
    for crash in ("Traceback", "Abort", "BAD TERMINATION", "rank 1"):
        assert crash not in done.stderr + done.stdout


def test_ledger_has_one_row_per_input_and_the_store_every_kept_piece(corpus: Path, undisturbed: Path) -> None:
    with ledger_of(undisturbed).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert len(rows) == NUM_INPUTS
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    assert {row["name"]: row["reason"] for row in rows if row["status"] == "rejected"} == {
        "0 endless.abc": "timeout",
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


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_any_number_of_ranks_writes_the_same_bytes_as_one_process(
    corpus: Path, undisturbed: Path, tmp_path: Path, ranks: int
) -> None:
    done = finished(mixed_command(ranks, corpus, tmp_path / "other name.h5"))
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "other name.h5") == contents(undisturbed)
    assert "37 inputs: 27 kept, 2 duplicates, 8 rejected" in done.stdout
    assert f"37 inputs, {ranks} rank" in done.stderr
    assert "resuming" not in done.stderr
    assert names_in(tmp_path) == {"other name.h5", "other name.ledger.csv"}


def num_finished(store: Path) -> int:
    shards = store.with_name(store.name + ".tmp-work").glob("shard-*")
    return sum(len(read_shard(shard)) for shard in shards)


def kill_half_way(corpus: Path, store: Path, ranks: int, killed_rank: int | None) -> None:
    """Starts preprocessing that one input would keep busy for an hour, and kills a rank, or all processes if this is None."""
    with started(mixed_command(ranks, corpus, store, cpu_limit_s=3_600)) as launcher:
        wait_until(lambda: num_finished(store) >= 5, "some inputs are finished")
        children = descendants(launcher.pid)
        if killed_rank is None:
            os.killpg(launcher.pid, signal.SIGKILL)
        else:
            pids = {mpi_rank(pid): pid for pid in reversed(children) if mpi_rank(pid) is not None}
            assert set(pids) == set(range(ranks))
            os.kill(pids[killed_rank], signal.SIGKILL)
        launcher.wait()
        assert launcher.returncode != 0
        wait_until(lambda: all(map(has_ended, children)), "all processes of the killed command have ended")
    assert not store.exists()


def test_interrupt_while_the_host_process_starts_prints_one_line(corpus: Path, tmp_path: Path) -> None:
    with started(mixed_command(0, corpus, tmp_path / "a.h5")) as rank:
        wait_until(lambda: (tmp_path / "a.h5.tmp-work").exists(), "the inputs are known")
        os.killpg(rank.pid, signal.SIGINT)
        output = rank.communicate()[0]
    assert rank.returncode == 130
    assert "interrupted; run the same command again to resume" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(("ranks", "killed_rank", "ranks_after"), [(2, None, 3), (3, 1, 0)])
def test_resume_with_another_number_of_ranks_writes_the_same_bytes(
    corpus: Path, undisturbed: Path, tmp_path: Path, ranks: int, killed_rank: int | None, ranks_after: int
) -> None:
    store = tmp_path / "a.h5"
    kill_half_way(corpus, store, ranks, killed_rank)
    num_finished_before = num_finished(store)
    assert 5 <= num_finished_before < NUM_INPUTS
    done = finished(mixed_command(ranks_after, corpus, store))
    assert done.returncode == 0, done.stderr
    resumed = RESUMED.search(done.stderr)
    assert resumed, done.stderr
    assert int(resumed[1]) == num_finished_before
    assert contents(store) == contents(undisturbed)
    assert names_in(tmp_path) == {"a.h5", "a.ledger.csv"}


def test_killed_preprocessing_keeps_the_old_store(corpus: Path, small: Path, small_store: Path, tmp_path: Path) -> None:
    store = Path(shutil.copy(small_store, tmp_path / "a.h5"))
    shutil.copy(ledger_of(small_store), ledger_of(store))
    before = contents(store)
    with started(mixed_command(0, corpus, store, cpu_limit_s=3_600)) as rank:
        wait_until(lambda: len(descendants(rank.pid)) == 2, "host process and worker process are running")
        children = descendants(rank.pid)
        rank.kill()
    wait_until(lambda: all(map(has_ended, children)), "all processes of the killed command have ended")
    assert contents(store) == before
    # The work folder of the killed command belongs to another corpus.
    done = finished(preprocess_command(0, small, "--store", store))
    assert done.returncode == 0, done.stderr
    assert contents(store) == before
    assert names_in(tmp_path) == {"a.h5", "a.ledger.csv"}


@pytest.mark.parametrize("marker", ["of_another_corpus", "missing", "truncated"])
def test_work_of_another_corpus_is_reported_and_removed(small: Path, small_store: Path, tmp_path: Path, marker: str) -> None:
    store = tmp_path / "a.h5"
    work = tmp_path / "a.h5.tmp-work"
    work.mkdir()
    (work / "shard-0123").write_bytes(b"a shard of another corpus")
    if marker != "missing":
        (work / "job.json").write_text('{"identity": "0123"}' if marker == "of_another_corpus" else '{"iden')
    (tmp_path / "a.h5.tmp-0123.h5").write_bytes(b"an incomplete store")
    done = finished(preprocess_command(0, small, "--store", store))
    assert done.returncode == 0, done.stderr
    assert f"WARNING {work} holds unfinished work of another corpus, other options or another version" in done.stderr
    assert "resuming" not in done.stderr
    assert contents(store) == contents(small_store)
    assert not work.exists()


def test_too_many_rejects_keep_the_old_store_and_the_finished_work(small: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(small, corpus)
    for number in range(2):
        (corpus / f"{number}.mid").write_text("not a MIDI file")
    (corpus / "theme.mscz").write_text("a score in a format that is not read")
    (tmp_path / "out").mkdir()
    store = made_store(tmp_path / "out/a.h5", [Split.TRAIN])
    old = store.read_bytes()
    command = preprocess_command(2, corpus, "--store", store)
    done = finished(command)
    assert_failed(done, 1, "PreprocessError: 2 of 6 pieces were rejected (2 not_midi), more than --max-rejects 0.1 allows")
    assert "INFO not inputs: scores and projects in formats that are not read: 1 .mscz" in done.stderr
    assert store.read_bytes() == old
    assert ledger_of(store).read_text().count("not_midi") == 2
    done = finished([*command, "--max-rejects", "0.4"])
    assert done.returncode == 0, done.stderr
    assert "resuming: 6 of 6 inputs are already finished" in done.stderr
    assert names_in(tmp_path / "out") == {"a.h5", "a.ledger.csv"}
    with Store(store) as made:
        assert len(made.pieces) == 4


def test_allowed_share_of_rejects_is_exact(tmp_path: Path) -> None:
    """0.58 * 50 is less than 29 in floating-point numbers."""
    corpus = made_midi_corpus(tmp_path / "corpus", 21)
    for number in range(29):
        (corpus / f"{number}.mid").write_text("not a MIDI file")
    done = finished(preprocess_command(0, corpus, "--store", tmp_path / "a.h5", "--max-rejects", "0.58"))
    assert done.returncode == 0, done.stderr
    assert "50 inputs: 21 kept, 0 duplicates, 29 rejected" in done.stdout


WRONG_ARGUMENTS = {
    "missing_corpus": (["none", "--store", "a.h5"], "UsageError: none does not exist"),
    "empty_corpus": (["empty", "--store", "a.h5"], "UsageError: empty has no inputs"),
    "unknown_bundled_corpus": (
        ["music21:nonsense", "--store", "a.h5"],
        "UsageError: music21 has no corpus 'nonsense'; valid names: ",
    ),
    "corpus_given_twice": (["corpus", "corpus", "--store", "a.h5"], "A/00.mid; the corpus is named twice: name it once"),
    "missing_store_folder": (["corpus", "--store", "none/a.h5"], "UsageError: the folder of --store none/a.h5 does not exist"),
    "unknown_name_in_split_file": (
        ["corpus", "--store", "a.h5", "--split-file", "splits.csv"],
        "UsageError: splits.csv:2: no input has the name",
    ),
    "backward_range_of_programs": (["corpus", "--store", "a.h5", "--programs", "7-0"], "'7-0' is not a program"),
    "onsets_per_bar": (["corpus", "--store", "a.h5", "--min-onsets-per-bar", "nan"], "'nan' is not a positive number"),
    "share_that_is_not_a_number": (["corpus", "--store", "a.h5", "--max-rejects", "ten"], "argument --max-rejects: "),
    "share_nan": (["corpus", "--store", "a.h5", "--max-rejects", "nan"], "argument --max-rejects: 'nan' is not a share"),
    "cpu_limit_of_zero": (
        ["corpus", "--store", "a.h5", "--cpu-limit-s", "0"],
        "argument --cpu-limit-s: '0' is not a whole number of seconds",
    ),
    "cpu_limit_over_a_day": (
        ["corpus", "--store", "a.h5", "--cpu-limit-s", "9999999"],
        "whole number of seconds from 1 to 86400",
    ),
    "store_is_a_folder": (["corpus", "--store", "empty"], "--store 'empty' is a folder"),
    "store_is_the_current_folder": (["corpus", "--store", "."], "--store '.' is a folder"),
    "store_is_the_parent_folder": (["corpus", "--store", ".."], "--store '..' is a folder"),
    "store_is_an_input": (["corpus", "--store", "splits.csv"], "splits.csv exists and is not a store of this program"),
    "store_is_a_foreign_hdf5_file": (["corpus", "--store", "weights.h5"], "weights.h5 exists and is not a store of this program"),
    "store_is_a_device": (["corpus", "--store", "/dev/full"], "/dev/full exists and is not a store of this program"),
    "store_is_a_link_to_nowhere": (["corpus", "--store", "link.h5"], "none/a.h5 does not exist"),
    "ledger_is_a_file_of_the_user": (
        ["corpus", "--store", "b.h5", "--metadata", "b.ledger.csv"],
        "b.ledger.csv exists and is not a ledger of this program",
    ),
    "unknown_option": (
        ["corpus", "--store", "a.h5", "--max-reject", "0"],
        "--max-reject is not an argument of this command; did you mean --max-rejects?",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_ARGUMENTS)
def test_wrong_arguments_exit_with_2_and_write_nothing(small: Path, tmp_path: Path, wrong: str) -> None:
    arguments, message = WRONG_ARGUMENTS[wrong]
    shutil.copytree(small, tmp_path / "corpus")
    (tmp_path / "empty").mkdir()
    (tmp_path / "splits.csv").write_text("name,split\nnone.mid,train\n")
    (tmp_path / "b.ledger.csv").write_text("name,split\nA/00.mid,train\n")
    (tmp_path / "link.h5").symlink_to("none/a.h5")
    h5py.File(tmp_path / "weights.h5", "w").close()
    before = bytes_in(tmp_path)
    done = finished(preprocess_command(0, *arguments), tmp_path)
    assert_failed(done, 2, message)
    assert done.stdout == ""
    assert bytes_in(tmp_path) == before


def test_error_of_many_ranks_is_printed_once(tmp_path: Path) -> None:
    done = finished(preprocess_command(3, tmp_path / "none", "--store", tmp_path / "a.h5"))
    assert_failed(done, 2, f"UsageError: {tmp_path}/none does not exist")
    assert len(done.stderr.splitlines()) == 1
    assert not names_in(tmp_path)


def test_hard_limits_of_the_site_reject_no_input(small: Path, small_store: Path, tmp_path: Path) -> None:
    """Login nodes have hard limits that a user cannot raise."""
    limits = ["prlimit", "--cpu=3600", "--as=3500000000"]
    unprivileged = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"] if os.geteuid() == 0 else []
    done = finished([*limits, *unprivileged, *preprocess_command(0, small, "--store", tmp_path / "a.h5")])
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "a.h5") == contents(small_store)


def test_store_without_a_train_split_is_an_error(small: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("name,split\nA/00.mid,valid\nB/01.mid,test\n")
    done = finished(preprocess_command(0, small, "--store", tmp_path / "a.h5", "--split-file", tmp_path / "splits.csv"))
    assert_failed(done, 1, "PreprocessError: none of 4 pieces is in the train split")
    assert not (tmp_path / "a.h5").exists()


def test_split_file_assigns_splits(small: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("name,split\nA/00.mid,valid\nB/01.mid,test\nA/02.mid,train\n")
    done = finished(preprocess_command(0, small, "--store", tmp_path / "a.h5", "--split-file", tmp_path / "splits.csv"))
    assert done.returncode == 0, done.stderr
    with Store(tmp_path / "a.h5") as store:
        assert store.pieces.split.tolist() == [Split.VALID, Split.TRAIN, Split.TEST, Split.NONE]


@pytest.mark.parametrize("variable", ["PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_ranks_that_mpi_does_not_connect_are_an_error(small: Path, tmp_path: Path, variable: str) -> None:
    done = finished(preprocess_command(0, small, "--store", tmp_path / "a.h5"), **{variable: "2"})
    assert_failed(done, 2, "UsageError: the launcher started 2 ranks, but MPI connects 1")
    assert not names_in(tmp_path)


def test_find_world_gives_rank_and_size() -> None:
    program = "from preprocess.world import find_world; world = find_world(); print(f'{world.rank}/{world.size}\\n', end='')"
    done = finished(mpi_command(3, "-c", program))
    assert (done.returncode, sorted(done.stdout.split())) == (0, ["0/3", "1/3", "2/3"])
    alone = finished([sys.executable, "-c", program])
    assert (alone.returncode, alone.stdout) == (0, "0/1\n")


def test_settings_of_mpi_are_no_launcher() -> None:
    """Modules set them on login nodes, where the initialization of MPI may fail."""
    program = "import sys; from preprocess.world import find_world; print(find_world().size, 'mpi4py.MPI' in sys.modules)"
    settings = dict.fromkeys(["OMPI_MCA_btl", "I_MPI_ROOT", "MPI_HOME", "PMIX_MCA_gds", "SLURM_STEP_NUM_TASKS"], "1")
    assert finished([sys.executable, "-c", program], **settings).stdout == "1 False\n"


def test_empty_variable_of_slurm_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "")
    assert batch_job() == BatchJob("7", restarts=0)


def test_store_path_may_have_spaces_quotes_and_invalid_bytes(small: Path, tmp_path: Path) -> None:
    store = Path(os.fsdecode(os.fsencode(tmp_path) + b"/two words' \"caf\xe9\n.store.h5"))
    done = finished(preprocess_command(0, small, "--store", store), PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 0, done.stderr
    assert names_in(tmp_path) == {store.name, store.with_suffix(".ledger.csv").name}
    with Store(store) as made:
        made.verify()


def test_options_of_reading_determine_the_store_and_its_provenance(small: Path, small_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.h5"
    options = ["--steps-per-quarter", 12, "--programs", "0-1,3", "--sustain", "--max-steps", 99_999, "--min-onsets-per-bar", 0.5]
    done = finished(preprocess_command(0, small, "--store", store, *options))
    assert done.returncode == 0, done.stderr
    with Store(store) as fine, Store(small_store) as coarse:
        fine.verify()
        assert (fine.steps_per_quarter, coarse.steps_per_quarter) == (12, 4)
        assert {name: fine.provenance[name] for name in fine.provenance.keys() - {"version"}} == {
            "parser": "smf",
            "keep_rests": False,
            "steps_per_quarter": 12,
            "programs": [0, 1, 3],
            "sustain": True,
            "max_steps": 99_999,
            "min_onsets_per_bar": 0.5,
            "split": "hash",
            "near_duplicates": {"rule": "keep", "found": 0, "across_splits": 0},
        }
        assert set(fine.rows(0, 40).bar_position.tolist()) <= set(range(48))
        assert fine.roll(0).steps_per_quarter == 12


def test_corpus_may_be_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(made_midi(0))
    (tmp_path / "splits.csv").write_text("name,split\na.mid,train\n")
    command = preprocess_command(0, tmp_path / "a.mid", "--store", tmp_path / "a.h5", "--split-file", tmp_path / "splits.csv")
    assert finished(command).returncode == 0
    with Store(tmp_path / "a.h5") as store:
        assert (store.pieces.name, store.pieces.group) == (["a.mid"], [""])


def test_full_disk_while_a_shard_is_written_is_an_error_and_keeps_the_old_store(
    small: Path, small_store: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for a full disk: the same system calls fail."""
    store = tmp_path / "store.h5"
    store.write_bytes(small_store.read_bytes())
    command = preprocess_command(0, small, "--store", store)
    done = finished(["prlimit", "--fsize=1000", *command])
    assert done.returncode == 1
    assert "cannot be written: File too large; free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert store.read_bytes() == small_store.read_bytes()
    assert finished(command).returncode == 0
    assert contents(store) == contents(small_store)


@pytest.mark.skipif(not may_mount(), reason=NO_SMALL_DISK)
def test_full_disk_while_the_store_is_written_is_an_error(small: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = shlex.join(preprocess_command(0, small, "--store", disk / "store.h5"))
    done = finished(on_small_disk(disk, "40k", f"{command}; code=$?; ls {shlex.quote(str(disk))}; exit $code"))
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.split() == ["store.h5.tmp-work", "store.ledger.csv"]
