"""slurm/preprocess.sh on a real Slurm: the bytes of a plain run, whatever happens to nodes and ranks on the way."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pianogen.midi.writer import write_midi
from tests.support.made_music import made_roll
from tests.support.paths import ROOT
from tests.support.processes import wait_until
from tests.support.slurm_cluster import SlurmCluster

SCRIPT = "slurm/preprocess.sh"


@dataclass(frozen=True)
class Made:
    """A corpus, and the store and ledger that a run without Slurm and MPI makes of it."""

    corpus: Path
    options: list[str]
    store: bytes
    ledger: bytes

    def is_made_of(self, store: Path) -> bool:
        return store.read_bytes() == self.store and store.with_suffix(".ledger.csv").read_bytes() == self.ledger


def make(folder: Path, names: list[str], steps: int, options: list[str]) -> Made:
    """A corpus of files below these names, of eight pieces in turn."""
    corpus, store = folder / "corpus", folder / "plain.h5"
    pieces = [write_midi(made_roll(seed, steps)) for seed in range(8)]
    for number, name in enumerate(names):
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_bytes(pieces[number % 8])
    command = [sys.executable, "-m", "preprocess", str(corpus), "--store", str(store), *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    return Made(corpus, options, store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made"), [f"{i % 3}/{i}.mid" for i in range(20)], 60, [])


@pytest.fixture(scope="module")
def slowly_made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Files that take seconds together, so that a job can be disturbed half way."""
    return make(tmp_path_factory.mktemp("slow"), [f"{i:02d}.mid" for i in range(80)], 2000, ["--parser=music21"])


@dataclass
class Submitted:
    """A job of SCRIPT."""

    slurm: SlurmCluster
    number: str
    log: Path

    @property
    def end(self) -> tuple[str, str]:
        """The state in which it ends and its exit code, as Slurm shows them."""
        return self.slurm.wait(self.number), self.slurm.field(self.number, "ExitCode").partition(":")[0]


def submit(slurm: SlurmCluster, flags: list[str], arguments: list[str | Path], log: Path, cwd: Path = ROOT) -> Submitted:
    sent = slurm.run("sbatch", "--parsable", f"--output={log}", *flags, SCRIPT, *arguments, cwd=cwd)
    assert sent.returncode == 0, sent.stderr
    return Submitted(slurm, sent.stdout.strip(), log)


def wait_until_half_way(store: Path) -> None:
    work = store.with_name(store.name + ".tmp-work")
    wait_until(lambda: any(shard.stat().st_size for shard in work.glob("shard-*")), "the first finished inputs")


@pytest.mark.parametrize("nodes", [1, 2])
def test_job_writes_the_bytes_of_a_plain_run(slurm: SlurmCluster, made: Made, tmp_path: Path, nodes: int) -> None:
    store = tmp_path / "corpus.h5"
    job = submit(slurm, [f"--nodes={nodes}", "--ntasks=2"], [made.corpus, "--store", store], tmp_path / "log")
    assert job.end == ("COMPLETED", "0"), job.log.read_text()
    assert made.is_made_of(store)
    text = job.log.read_text()
    assert f"job {job.number}: 2 ranks on n" in text
    assert "20 inputs, 2 ranks" in text
    for path in (store, tmp_path / "corpus.ledger.csv", job.log):
        assert str(path) in text.partition("ended with exit code 0")[2]


def test_paths_of_any_characters_and_nothing_exported(slurm: SlurmCluster, made: Made, tmp_path: Path) -> None:
    checkout = tmp_path / 'a "check"\nout\' é'
    checkout.mkdir()
    for name in (".venv", "pianogen", "preprocess", "slurm"):
        (checkout / name).symlink_to(ROOT / name)
    corpus = "my  music\n'\"*\\ $HOME"
    (checkout / corpus).symlink_to(made.corpus)
    flags = ["--nodes=2", "--ntasks=2", "--export=NONE"]
    job = submit(slurm, flags, [corpus, "--store=a\nb $(c).h5"], tmp_path / "log", checkout)
    assert job.end == ("COMPLETED", "0"), job.log.read_text()
    assert made.is_made_of(checkout / "a\nb $(c).h5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep-rests"], "the following arguments are required: --store"),
        (["--store=corpus.h5"], "no such corpus does not exist"),
    ],
)
def test_wrong_arguments_end_with_exit_code_2(slurm: SlurmCluster, tmp_path: Path, arguments: list[str], message: str) -> None:
    job = submit(slurm, ["--nodes=2", "--ntasks=2"], [tmp_path / "no such corpus", *arguments], tmp_path / "log")
    assert job.end == ("FAILED", "2"), job.log.read_text()
    text = job.log.read_text()
    assert message in text
    assert "Traceback" not in text
    assert "Abort" not in text


def test_ranks_that_mpi_does_not_connect_are_refused(slurm: SlurmCluster, made: Made, tmp_path: Path) -> None:
    site, store = tmp_path / "site.sh", tmp_path / "corpus.h5"
    site.write_text("PIANOGEN_MPI=none\n")
    job = submit(slurm, ["--ntasks=2", f"--export=PIANOGEN_SITE={site}"], [made.corpus, "--store", store], tmp_path / "log")
    assert job.end == ("FAILED", "2"), job.log.read_text()
    assert "2 ranks were launched and MPI connects 1" in job.log.read_text()
    assert not store.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("PIANOGEN_ACTIVATE='PATH=/nowhere'", "no environment for this program on n1: "),
        ("PIANOGEN_ACTIVATE='source /no/such/file'", "correct PIANOGEN_ACTIVATE in "),
        (None, "there is no such file"),
    ],
)
def test_site_that_does_not_work_is_named(slurm: SlurmCluster, tmp_path: Path, settings: str | None, message: str) -> None:
    site = tmp_path / "my site.sh"
    if settings:
        site.write_text(settings)
    flags = ["--nodelist=n1", "--ntasks=1", f"--export=PIANOGEN_SITE={site}"]
    job = submit(slurm, flags, ["corpus", "--store", "corpus.h5"], tmp_path / "log")
    assert job.end == ("FAILED", "2"), job.log.read_text()
    assert message in job.log.read_text()
    assert str(site) in job.log.read_text()


def test_jobs_of_lost_nodes_are_queued_again_and_go_on(slurm: SlurmCluster, slowly_made: Made, tmp_path: Path) -> None:
    stores, jobs, lost = [tmp_path / "one node.h5", tmp_path / "two nodes.h5"], [], []
    try:
        for nodes, store in enumerate(stores, 1):
            arguments = [slowly_made.corpus, "--store", store, *slowly_made.options]
            jobs.append(submit(slurm, [f"--nodes={nodes}", "--ntasks=2"], arguments, store.with_suffix(".log")))
            wait_until_half_way(store)
            lost.append(slurm.field(jobs[-1].number, "BatchHost"))
            slurm.kill_node(lost[-1])
        wait_until(lambda: all(slurm.field(job.number, "Restarts") != "0" for job in jobs), "Slurm to requeue the jobs")
    finally:
        for node in lost:
            slurm.start_node(node)
    for job, store in zip(jobs, stores, strict=True):
        assert job.end == ("COMPLETED", "0"), job.log.read_text()
        assert slowly_made.is_made_of(store)
        assert "restart 1" in job.log.read_text()
        assert "of 80 inputs were finished before" in job.log.read_text()


def test_job_of_a_killed_rank_ends_and_the_same_command_goes_on(slurm: SlurmCluster, slowly_made: Made, tmp_path: Path) -> None:
    site, store = tmp_path / "site.sh", tmp_path / "corpus.h5"
    site.write_text("SLURM_WAIT=2\n")
    flags = ["--nodes=1", "--ntasks=2", f"--export=PIANOGEN_SITE={site}"]
    arguments = [slowly_made.corpus, "--store", store, *slowly_made.options]
    killed = submit(slurm, flags, arguments, tmp_path / "log")
    wait_until_half_way(store)
    node = slurm.field(killed.number, "NodeList")
    listed = slurm.run("scontrol", "listpids", f"{killed.number}.0", node).stdout.splitlines()
    rank_1 = next(int(row[0]) for row in map(str.split, listed) if row[4] == "1")
    os.kill(rank_1, signal.SIGKILL)
    assert killed.end == ("FAILED", "137"), killed.log.read_text()
    assert "submit the same command again" in killed.log.read_text()
    again = submit(slurm, flags, arguments, tmp_path / "log again")
    assert again.end == ("COMPLETED", "0"), again.log.read_text()
    assert "of 80 inputs were finished before" in again.log.read_text()
    assert slowly_made.is_made_of(store)
