"""A program: converts chunks in which one input misbehaves in a given way, in a rank's real host and worker processes.

python misbehaving.py FOLDER all       a chunk for each way, at once; prints the tallies as JSON
python misbehaving.py FOLDER nothing   no chunk at all
python misbehaving.py FOLDER sleeps    one chunk that never ends; prints what ends it
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pianogen.errors import PianogenError
from preprocess import isolation, shard
from preprocess.isolation import Isolation, Limits
from preprocess.outcome import Options, Outcome
from preprocess.sources import Input
from tests.support.made_corpus import ENDLESS, made_midi


def eat_memory() -> None:
    held = []
    while True:
        held.append(np.empty(1 << 28, np.uint8))  # address space alone: the limit is on that


def raise_error() -> None:
    raise RuntimeError("a mistake in the package")


MISBEHAVIOUR: dict[str, Callable[[], Any]] = {
    "sleeps": lambda: time.sleep(600),
    "segfaults": lambda: ctypes.string_at(0),
    "is_killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "eats_memory": eat_memory,
    "exits": lambda: os._exit(0),
    "leaves": lambda: sys.exit(0),
    "raises": raise_error,
}
# What happens while the outcome is written, rather than before.
LATE = ("dies_before_writing", "dies_half_way_through_writing", "dies_after_writing")
WAYS = (*MISBEHAVIOUR, *LATE, "is_endless")

_convert, _append = isolation.convert, shard.append


def convert(source: Input, *arguments: Any, **options: Any) -> Outcome:
    MISBEHAVIOUR.get(Path(source.name).stem, lambda: None)()
    return _convert(source, *arguments, **options)


def append(handle: int, outcome: Outcome) -> int:
    way = Path(outcome.name).stem
    if way not in LATE or outcome.status == "rejected":
        return _append(handle, outcome)
    if way == "dies_half_way_through_writing":
        _append(handle, outcome)
        os.ftruncate(handle, os.fstat(handle).st_size - 100)
    if way == "dies_after_writing":
        _append(handle, outcome)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it is dead")


def chunk_of(folder: Path, way: str) -> list[Input]:
    """Two sound inputs with one between them that misbehaves."""
    folder.mkdir()
    names = ["first.mid", f"{way}.musicxml" if way == "is_endless" else f"{way}.mid", "last.mid"]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(ENDLESS.encode() if name.endswith(".musicxml") else made_midi(seed))
    return [Input(name, str(folder / name), (folder / name).stat().st_size, 0) for name in names]


def start(folder: Path, way: str) -> Isolation:
    made = Isolation(folder / f"shard-{way}", Options(), Limits(cpu_s=1))
    made.submit(chunk_of(folder / way, way))
    return made


def main(folder: Path, what: str) -> None:
    isolation.convert, shard.append = convert, append
    isolation._WALL_PER_CPU = 2  # a sleeper need not be waited for as long as outside of tests
    if what == "all":
        at_work = {way: start(folder, way) for way in WAYS}
        tallies = {}
        for way, each in at_work.items():
            while (tally := each.collect(60)) is None:
                pass
            tallies[way] = (tally.num_inputs, tally.num_rejected)
            each.close()
        print(json.dumps(tallies))
        return
    if what == "nothing":
        Isolation(folder / "shard", Options(), Limits()).close()
        return
    isolation._WALL_PER_CPU = 600
    alone = start(folder, what)
    alone.submit(chunk_of(folder / "next", "waits"))  # a rank keeps two chunks at work
    print("started", flush=True)
    try:
        alone.collect(600)
    except PianogenError as error:
        print(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
