"""Rank 0 waits neither for a worker rank that is slow to receive its chunk nor for its own host process."""

import sys
from pathlib import Path

import pytest

from tests.support.made_corpus import ENDLESS
from tests.support.paths import PROGRAMS
from tests.support.processes import finished, mpi_command


def test_rank_0_continues_while_a_worker_rank_is_slow_to_receive_its_chunk(tmp_path: Path) -> None:
    done = finished(mpi_command(2, PROGRAMS / "instant_ranks.py", "slow", tmp_path))
    assert (done.returncode, done.stdout) == (0, "20000\n"), done.stderr


@pytest.mark.parametrize("num_chunks", [1, 2, 3, 5, 8, 13, 21])
def test_worker_ranks_exit_in_order_when_rank_0_fails(num_chunks: int) -> None:
    done = finished(mpi_command(3, PROGRAMS / "instant_ranks.py", "failing", num_chunks))
    assert (done.returncode, done.stdout, done.stderr) == (0, "exit code 1\n" * 3, "")


def test_submit_does_not_wait_for_the_chunk_in_progress(tmp_path: Path) -> None:
    (tmp_path / "endless.abc").write_text(ENDLESS)
    done = finished([sys.executable, str(PROGRAMS / "busy_host.py"), str(tmp_path)])
    assert (done.returncode, done.stdout) == (0, "none, 1 1, 256 256, 256 256, 256 256\n"), done.stderr
