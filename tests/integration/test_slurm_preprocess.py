"""slurm/preprocess.sh on a real Slurm writes the same bytes as one process, also after failures of nodes and ranks."""

import os
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pianogen.midi.writer import write_midi
from tests.support.made_music import made_roll
from tests.support.paths import ROOT
from tests.support.processes import POLL_S, wait_until
from tests.support.slurm_cluster import SlurmCluster

SCRIPT = "slurm/preprocess.sh"


@dataclass(frozen=True)
class Corpus:
    """A corpus, and the bytes of the store and ledger that one process without Slurm and MPI writes.

    Attributes:
        folder: the corpus.
        options: the options of preprocessing.
    """

    folder: Path
    options: list[str]
    store: bytes
    ledger: bytes

    def matches(self, store: Path) -> bool:
        return store.read_bytes() == self.store and store.with_suffix(".ledger.csv").read_bytes() == self.ledger


def make_corpus(folder: Path, names: list[str], steps: int, options: list[str]) -> Corpus:
    """A corpus of files with these names, which repeat eight pieces."""
    corpus, store = folder / "corpus", folder / "expected.h5"
    pieces = [write_midi(made_roll(seed, steps)) for seed in range(8)]
    for number, name in enumerate(names):
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_bytes(pieces[number % 8])
    command = [sys.executable, "-m", "preprocess", str(corpus), "--store", str(store), *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    return Corpus(corpus, options, store.read_bytes(), store.with_suffix(".ledger.csv").read_bytes())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), [f"{i % 3}/{i}.mid" for i in range(20)], 60, [])


@pytest.fixture(scope="module")
def slow_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus that takes seconds to convert, so that a job can be interrupted half way."""
    return make_corpus(tmp_path_factory.mktemp("slow"), [f"{i:02d}.mid" for i in range(80)], 2000, ["--parser=music21"])


@dataclass
class Job:
    """A submitted job of SCRIPT."""

    slurm: SlurmCluster
    number: str
    log: Path

    @property
    def end(self) -> tuple[str, str]:
        """The final state and the exit code of the job, in Slurm's words; waits for its end."""
        return self.slurm.wait(self.number), self.slurm.field(self.number, "ExitCode").partition(":")[0]


def submit(slurm: SlurmCluster, flags: list[str], arguments: Sequence[str | Path], log: Path, cwd: Path = ROOT) -> Job:
    submission = slurm.run("sbatch", "--parsable", f"--output={log}", *flags, SCRIPT, *arguments, cwd=cwd)
    assert submission.returncode == 0, submission.stderr
    return Job(slurm, submission.stdout.strip(), log)


def wait_until_half_way(store: Path) -> None:
    work = store.with_name(store.name + ".tmp-work")
    wait_until(lambda: any(shard.stat().st_size for shard in work.glob("shard-*")), "the first inputs are finished")


def make_environment(folder: Path, prefixes: Path) -> str:
    """A Python environment with little in it but a reference to the packages of this one; the command that activates it.

    Every process of it writes its prefix to a file below `prefixes`.
    """
    venv.create(folder)
    for path in Path(sys.prefix, "lib").glob("*mpi*"):  # the library of the wheel mpich, which mpi4py looks for here
        (folder / "lib" / path.name).symlink_to(path)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "reference.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    line = f"import os, pathlib, sys; pathlib.Path({str(prefixes)!r}, str(os.getpid())).write_text(sys.prefix)\n"
    (packages / "sitecustomize.py").write_text(line)
    return f"source {folder}/bin/activate"


def test_ranks_import_from_a_copy_of_the_environment_on_their_node(slurm: SlurmCluster, corpus: Corpus, tmp_path: Path) -> None:
    """On one node: the nodes of the tests share their disks."""
    disk, prefixes, store = tmp_path / "disk of the node", tmp_path / "prefixes", tmp_path / "corpus.h5"
    disk.mkdir()
    prefixes.mkdir()
    site = tmp_path / "site.sh"
    activate = make_environment(tmp_path / "environment", prefixes)
    site.write_text(f"PIANOGEN_ACTIVATE='{activate}'\nPIANOGEN_BROADCAST='{disk}'\n")
    flags = ["--nodes=1", "--ntasks=2", f"--export=ALL,PIANOGEN_SITE={site}"]
    job = submit(slurm, flags, [corpus.folder, "--store", store], tmp_path / "log")
    assert job.end == ("COMPLETED", "0"), job.log.read_text()
    assert corpus.matches(store)
    assert f"copied {tmp_path}/environment (" in job.log.read_text()
    copies = [path.read_text() for path in prefixes.iterdir() if path.read_text().startswith(str(disk))]
    assert len(copies) >= 2  # two ranks, and their child processes
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("nodes", [1, 2])
def test_job_writes_the_same_bytes_as_one_process(slurm: SlurmCluster, corpus: Corpus, tmp_path: Path, nodes: int) -> None:
    store = tmp_path / "corpus.h5"
    job = submit(slurm, [f"--nodes={nodes}", "--ntasks=2"], [corpus.folder, "--store", store], tmp_path / "log")
    assert job.end == ("COMPLETED", "0"), job.log.read_text()
    assert corpus.matches(store)
    text = job.log.read_text()
    assert f"job {job.number}: 2 ranks on n" in text
    assert "20 inputs, 2 ranks" in text
    for path in (store, tmp_path / "corpus.ledger.csv", job.log):
        assert str(path) in text.partition("ended with exit code 0")[2]


def test_dry_run_names_no_store(slurm: SlurmCluster, corpus: Corpus, tmp_path: Path) -> None:
    job = submit(slurm, ["--ntasks=1"], ["--dry-run", corpus.folder, "--store", tmp_path / "corpus.h5"], tmp_path / "log")
    assert job.end == ("COMPLETED", "0"), job.log.read_text()
    assert "20 .mid" in job.log.read_text()
    assert "corpus.h5" not in job.log.read_text()


def test_paths_may_have_special_characters_and_the_environment_may_be_empty(
    slurm: SlurmCluster, corpus: Corpus, tmp_path: Path
) -> None:
    checkout = tmp_path / 'a "check"\nout\' é'
    checkout.mkdir()
    for name in (".venv", "pianogen", "preprocess", "slurm"):
        (checkout / name).symlink_to(ROOT / name)
    link = "my  music\n'\"*\\ $HOME"
    (checkout / link).symlink_to(corpus.folder)
    flags = ["--nodes=2", "--ntasks=2", "--export=NONE"]
    job = submit(slurm, flags, [link, "--store=a\nb $(c).h5"], tmp_path / "log", checkout)
    assert job.end == ("COMPLETED", "0"), job.log.read_text()
    assert corpus.matches(checkout / "a\nb $(c).h5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep-rests"], "the following arguments are required: --store"),
        (["--store=corpus.h5"], "no such corpus does not exist"),
    ],
)
def test_wrong_arguments_exit_with_2(slurm: SlurmCluster, tmp_path: Path, arguments: list[str], message: str) -> None:
    job = submit(slurm, ["--nodes=2", "--ntasks=2"], [tmp_path / "no such corpus", *arguments], tmp_path / "log")
    assert job.end == ("FAILED", "2"), job.log.read_text()
    text = job.log.read_text()
    assert message in text
    assert "Traceback" not in text
    assert "Abort" not in text


def test_ranks_that_mpi_does_not_connect_are_an_error(slurm: SlurmCluster, corpus: Corpus, tmp_path: Path) -> None:
    site, store = tmp_path / "site.sh", tmp_path / "corpus.h5"
    site.write_text("PIANOGEN_MPI=none\n")
    job = submit(slurm, ["--ntasks=2", f"--export=PIANOGEN_SITE={site}"], [corpus.folder, "--store", store], tmp_path / "log")
    assert job.end == ("FAILED", "2"), job.log.read_text()
    assert "the launcher started 2 ranks, but MPI connects 1" in job.log.read_text()
    assert not store.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("PIANOGEN_ACTIVATE='PATH=/nowhere'", "cannot import this package on n1: "),
        ("PIANOGEN_ACTIVATE='source /no/such/file'", "correct PIANOGEN_ACTIVATE in "),
        (None, "but there is no such file on n"),
    ],
)
def test_error_in_the_site_settings_shows_their_path(
    slurm: SlurmCluster, tmp_path: Path, settings: str | None, message: str
) -> None:
    site = tmp_path / "my site.sh"
    if settings:
        site.write_text(settings)
    flags = ["--nodelist=n1", "--ntasks=1", f"--export=PIANOGEN_SITE={site}"]
    job = submit(slurm, flags, ["corpus", "--store", "corpus.h5"], tmp_path / "log")
    assert job.end == ("FAILED", "2"), job.log.read_text()
    assert message in job.log.read_text()
    assert str(site) in job.log.read_text()


def test_jobs_of_failed_nodes_are_requeued_and_resume(slurm: SlurmCluster, slow_corpus: Corpus, tmp_path: Path) -> None:
    stores, jobs, failed_nodes = [tmp_path / "one node.h5", tmp_path / "two nodes.h5"], [], []
    try:
        for nodes, store in enumerate(stores, 1):
            arguments: list[str | Path] = [slow_corpus.folder, "--store", store, *slow_corpus.options]
            jobs.append(submit(slurm, [f"--nodes={nodes}", "--ntasks=2"], arguments, store.with_suffix(".log")))
            wait_until_half_way(store)
            failed_nodes.append(slurm.field(jobs[-1].number, "BatchHost"))
            slurm.kill_node(failed_nodes[-1])

        def are_requeued() -> bool:
            return all(slurm.field(job.number, "Restarts") != "0" for job in jobs)

        wait_until(are_requeued, "Slurm has requeued the jobs", interval_s=POLL_S)
    finally:
        for node in failed_nodes:
            slurm.start_node(node)
    for job, store in zip(jobs, stores, strict=True):
        assert job.end == ("COMPLETED", "0"), job.log.read_text()
        assert slow_corpus.matches(store)
        assert "restart 1" in job.log.read_text()
        assert "of 80 inputs are already finished" in job.log.read_text()


def test_job_of_a_killed_rank_fails_and_the_same_command_resumes(
    slurm: SlurmCluster, slow_corpus: Corpus, tmp_path: Path
) -> None:
    site, store = tmp_path / "site.sh", tmp_path / "corpus.h5"
    site.write_text("SLURM_WAIT=2\n")
    flags = ["--nodes=1", "--ntasks=2", f"--export=PIANOGEN_SITE={site}"]
    arguments: list[str | Path] = [slow_corpus.folder, "--store", store, *slow_corpus.options]
    killed = submit(slurm, flags, arguments, tmp_path / "log")
    wait_until_half_way(store)
    node = slurm.field(killed.number, "NodeList")
    listed = slurm.run("scontrol", "listpids", f"{killed.number}.0", node).stdout.splitlines()
    rank_1 = next(int(row[0]) for row in map(str.split, listed) if row[4] == "1")
    os.kill(rank_1, signal.SIGKILL)
    assert killed.end == ("FAILED", "137"), killed.log.read_text()
    assert "submit the same command again" in killed.log.read_text()
    resumed = submit(slurm, flags, arguments, tmp_path / "log of the resumed job")
    assert resumed.end == ("COMPLETED", "0"), resumed.log.read_text()
    assert "of 80 inputs are already finished" in resumed.log.read_text()
    assert slow_corpus.matches(store)
