"""Converts chunks in which one input misbehaves, in the real host and worker processes of a rank.

python misbehaving.py FOLDER all        one chunk per misbehavior, at once; prints the chunk results as JSON
python misbehaving.py FOLDER nothing    no chunk
python misbehaving.py FOLDER sleeps     one chunk that never ends; prints the error that ends it
"""

import ctypes
import json
import os
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from pianogen.errors import PianogenError
from pianogen.midi.options import ReadOptions
from preprocess import host, shard
from preprocess.inputs import Input
from preprocess.isolation import Isolation
from preprocess.outcome import Outcome, convert
from preprocess.sources import scan
from preprocess.unread import Unread
from preprocess.worker import Limits
from tests.support.made_corpus import ENDLESS, made_midi

LONG_S = 600  # longer than any test
append = shard.append
converted: list[str] = []  # the names of the inputs that a worker process has begun


def eat_memory() -> None:
    arrays = []
    while True:
        arrays.append(np.empty(1 << 28, np.uint8))  # allocates address space only, which the limit is on


def raise_error() -> None:
    raise RuntimeError("a bug in the package")


# Misbehavior during the conversion.
EARLY: dict[str, Callable[[], Any]] = {
    "sleeps": lambda: time.sleep(LONG_S),
    "segfaults": lambda: ctypes.string_at(0),
    "is_killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "eats_memory": eat_memory,
    "calls_os_exit": lambda: os._exit(0),
    "calls_sys_exit": lambda: sys.exit(0),
    "raises": raise_error,
}
# Misbehavior while the record is written.
LATE = ("dies_before_writing", "dies_half_way_through_writing", "dies_after_writing")
ENDLESS_SCORE = "is_endless"
LONG_SEEK = "is_far_back_in_its_archive"  # no misbehavior
MISBEHAVIORS = (*EARLY, *LATE, ENDLESS_SCORE)
CPU_LIMIT_S = 1


def misbehaving_convert(source: Input, options: ReadOptions, index_folder: Path) -> list[Outcome]:
    converted.append(source.name)
    EARLY.get(Path(source.name).stem, lambda: None)()
    return convert(source, options, index_folder)


def long_seek(source: Input, index_folder: Path) -> None:  # noqa: ARG001 - as Input.seek
    if Path(source.name).stem == LONG_SEEK:
        end = time.process_time() + 2 * CPU_LIMIT_S
        while time.process_time() < end:
            pass


def misbehaving_append(handle: int, number: int, outcomes: Sequence[Outcome]) -> int:
    misbehavior = Path(converted[-1]).stem if converted else ""
    if misbehavior not in LATE or outcomes[0].reason is not None:
        return append(handle, number, outcomes)
    if misbehavior != "dies_before_writing":
        append(handle, number, outcomes)
    if misbehavior == "dies_half_way_through_writing":
        os.ftruncate(handle, os.fstat(handle).st_size - 100)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL returned")


def make_chunk(folder: Path, misbehavior: str) -> list[Input]:
    """Two valid inputs with a misbehaving one between them."""
    folder.mkdir()
    names = ["first.mid", f"{misbehavior}.abc" if misbehavior == ENDLESS_SCORE else f"{misbehavior}.mid", "last.mid"]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(ENDLESS.encode() if name.endswith(".abc") else made_midi(seed))
    if misbehavior == LONG_SEEK:
        with tarfile.open(folder / "a.tar", "w") as tar:
            for name in names:
                tar.add(folder / name, name)
        return list(scan([str(folder / "a.tar")], None, Unread()))
    return [Input(name, str(folder / name), (folder / name).stat().st_size, 0, number=index) for index, name in enumerate(names)]


def start(folder: Path, misbehavior: str, wall_s: int) -> Isolation:
    isolation = Isolation(folder / f"shard-{misbehavior}", ReadOptions(), Limits(cpu_s=CPU_LIMIT_S, wall_s=wall_s))
    isolation.submit(make_chunk(folder / misbehavior, misbehavior))
    return isolation


def convert_all(folder: Path) -> None:
    """Prints the number of inputs and of rejected inputs by misbehavior."""
    # Only the sleeping input may reach the limit of wall-clock time, however busy the machine is.
    isolations = {name: start(folder, name, wall_s=2 if name == "sleeps" else LONG_S) for name in (*MISBEHAVIORS, LONG_SEEK)}
    counts = {}
    for misbehavior, isolation in isolations.items():
        while (result := isolation.collect(60)) is None:
            pass
        counts[misbehavior] = (result.num_inputs, result.num_rejected)
        isolation.close()
    print(json.dumps(counts))


def convert_endlessly(folder: Path, misbehavior: str) -> None:
    isolation = start(folder, misbehavior, wall_s=LONG_S)
    isolation.submit(make_chunk(folder / "next", "waits"))  # a rank keeps two chunks in progress
    print("started", flush=True)
    try:
        isolation.collect(LONG_S)
    except PianogenError as error:
        print(error)


def main(folder: Path, action: str) -> None:
    with (
        patch.object(host, "convert", misbehaving_convert),
        patch.object(shard, "append", misbehaving_append),
        patch.object(Input, "seek", long_seek),
    ):
        if action == "all":
            convert_all(folder)
        elif action == "nothing":
            Isolation(folder / "shard", ReadOptions(), Limits()).close()
        else:
            convert_endlessly(folder, action)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
