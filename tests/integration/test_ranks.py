"""Rank 0 waits for nobody: neither for a rank that is slow to take its chunk nor for its own host."""

import sys

import pytest

from tests.support.made_corpus import ENDLESS
from tests.support.processes import finished, preprocess_command

# Chunks that are too long for MPI to deliver them before they are looked for, and are converted in no time.
WORLD = """
import sys
import time
from pathlib import Path

from pianogen.errors import PianogenError

from preprocess import ranks
from preprocess.isolation import Tally
from preprocess.sources import Input


class Instantly:
    def __init__(self):
        self.sizes = []

    def submit(self, chunk):
        self.sizes.append(len(chunk))

    def collect(self, timeout_s):
        return Tally(self.sizes.pop(0), 0, Path("shard"), 0) if self.sizes else None

    def close(self):
        pass


inputs = [Input(f"{number:0>1000}.mid", "", 0, 0) for number in range(20_000)]
world = ranks.find_world()
"""
# Rank 1 asks for a chunk and takes it when rank 0 has gone on.
LATE = """
def report(tally):
    marker.touch()
    sizes.append(tally.num_inputs)


marker, sizes = Path(sys.argv[1]), []
if world.rank == 0:
    world.comm.probe(source=1)
    ranks.lead(world, Instantly(), inputs, report)
    ranks.dismiss(world, 0)
    print(sum(sizes))
else:
    world.comm.send(None, 0, ranks._TO_DESK)
    while not marker.exists():
        time.sleep(0.01)
    chunk = world.comm.recv(source=0, tag=ranks._CHUNK)
    world.comm.send(Tally(len(chunk), 0, Path("shard"), 0), 0, ranks._TO_DESK)
    ranks.follow(world, Instantly())
"""


def test_rank_0_goes_on_while_a_rank_is_slow_to_take_its_chunk(tmp_path):
    command = preprocess_command(2)
    done = finished([*command[: command.index("-m")], "-c", WORLD + LATE, str(tmp_path / "marker")])
    assert (done.returncode, done.stdout) == (0, "20000\n"), done.stderr


# Rank 0 fails at some moment of its work.
FAILING = """
def report(tally):
    sizes.append(tally.num_inputs)
    if len(sizes) == int(sys.argv[1]):
        raise PianogenError("no room")


sizes, code = [], 1
if world.rank == 0:
    try:
        ranks.lead(world, Instantly(), inputs, report)
    except PianogenError:
        ranks.dismiss(world, 1)
else:
    code = ranks.follow(world, Instantly())
print(f"code {code}\\n", end="")
"""


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 13, 21])
def test_ranks_end_in_order_when_rank_0_gives_up(at):
    command = preprocess_command(3)
    done = finished([*command[: command.index("-m")], "-c", WORLD + FAILING, str(at)])
    assert (done.returncode, done.stdout, done.stderr) == (0, "code 1\n" * 3, "")


# What the host is at keeps it for a second; chunks with names of this length fill the pipe to it.
BUSY = """
import sys
from pathlib import Path

from preprocess.isolation import Isolation, Limits
from preprocess.outcome import Options
from preprocess.sources import Input

folder = Path(sys.argv[1])
isolation = Isolation(folder / "shard", Options(), Limits(cpu_s=1))
isolation.submit([Input("endless.musicxml", str(folder / "endless.musicxml"), 1, 0)])
for chunk in range(3):
    isolation.submit([Input(f"{chunk} {number:0>200}.mid", f"/nowhere/{number:0>200}", 1, 0) for number in range(256)])
tallies = [isolation.collect(0)]
while sum(tally is not None for tally in tallies) < 4:
    tallies.append(isolation.collect(60))
print(*(tally and tally[:2] for tally in tallies), sep="|")
isolation.close()
"""


def test_chunks_are_handed_over_without_waiting_for_the_one_at_work(tmp_path):
    (tmp_path / "endless.musicxml").write_text(ENDLESS)
    done = finished([sys.executable, "-c", BUSY, str(tmp_path)])
    assert (done.returncode, done.stdout) == (0, "None|(1, 1)|(256, 256)|(256, 256)|(256, 256)\n"), done.stderr
