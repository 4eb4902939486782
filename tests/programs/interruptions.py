"""Runs that are interrupted at random moments must end with the weights, metrics and samples of uninterrupted runs.

    unshare --mount python -m tests.programs.interruptions FOLDER --num 300 [--seed 0] [--model joint]

An interruption is a SIGKILL, a shutdown signal, a disk that becomes full, or a power failure. The runs are on a disk image below
FOLDER, mounted as ext4. In a power failure the file system is shut down at once, and what was not fsynced is lost; when the disk
is mounted again, its journal is replayed. Needs root. Prints a line per interruption and per run. The exit code is 1 if a run
differs from the uninterrupted run, or lost more than the checkpoint that was being written.
"""

import argparse
import fcntl
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.records.run_directory import Run
from pianogen.store import Split
from tests.support.made_music import made_store
from tests.support.processes import ENVIRONMENT, wait_until
from tests.support.runs import SETTINGS, are_equal, attempt, iteration_of, prepare, state_of

KINDS = ("kill", "signal", "full disk", "power failure")
_EVERY_ITERATIONS = 20
_DISK_BYTES = 64 * 2**20
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_WITHOUT_FLUSHING = struct.pack("I", 2)  # EXT4_GOING_FLAGS_NOLOGFLUSH
_FULL_S = 2.0  # how long the disk stays full
_MODELS: dict[str, dict[str, Any]] = {
    "base": {"training": {"batch": 8, "epochs": 1_000, "max_iterations": 6_000}},
    "joint": {
        "model": {"name": "joint", "units": 4},
        "data": {"window_steps": 12, "transpose": 2},
        "training": {"batch": 8, "epochs": 1_000, "max_iterations": 800},
    },
}


class Disk:
    """A small ext4 file system in an image file below a folder."""

    def __init__(self, folder: Path) -> None:
        self.path, self._image = folder / "disk", folder / "disk.img"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(_DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", self._image], check=True)
        self._mount()

    def _mount(self) -> None:
        # Without auto_da_alloc, with which ext4 writes a renamed file early.
        subprocess.run(["mount", "-o", "loop,noauto_da_alloc", self._image, self.path], check=True)

    def _descriptor(self) -> int:
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)

    def lose_power(self) -> None:
        """Ends all access at once; what was not fsynced is lost."""
        descriptor = self._descriptor()
        fcntl.ioctl(descriptor, _SHUTDOWN, _WITHOUT_FLUSHING)
        os.close(descriptor)

    def restart(self) -> None:
        """Mounts the disk again, after all processes that used it have ended."""

        def is_unmounted() -> bool:
            return subprocess.run(["umount", self.path], capture_output=True).returncode == 0

        wait_until(is_unmounted, "the disk to be unmounted")
        self._mount()

    def fill(self) -> None:
        """Uses all free space for a while."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as file:
            deadline = time.monotonic() + _FULL_S
            while time.monotonic() < deadline:
                try:
                    file.write(bytes(4_096))
                except OSError:
                    time.sleep(0.01)
        filler.unlink()


@dataclass
class InterruptedRun:
    """A run that is interrupted at random moments.

    Attributes:
        longest_s: of the random times after which an attempt is interrupted.
    """

    run: Run
    disk: Disk
    draw: random.Random
    longest_s: float

    def interrupt(self) -> str | None:
        """Interrupts an attempt after a random time; the kind of the interruption, None if the attempt ended before."""
        kind = self.draw.choice(KINDS)
        process = subprocess.Popen(
            attempt(self.run), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(self.draw.uniform(0, self.longest_s))
        except subprocess.TimeoutExpired:
            before = iteration_of(self.run)
            self._interrupt(kind, process)
        else:
            return None
        lost = before - iteration_of(self.run)
        if lost > _EVERY_ITERATIONS:
            sys.exit(f"{kind}: {lost} iterations were lost")
        print(f"{kind:14} iteration {before:5}  {' '.join(state_of(self.run))[:110]}", flush=True)
        return kind

    def _interrupt(self, kind: str, process: "subprocess.Popen[bytes]") -> None:
        if kind == "full disk":
            self.disk.fill()
        elif kind == "signal":
            process.send_signal(signal.SIGUSR2)
            process.wait(120)
        elif kind == "power failure":
            self.disk.lose_power()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if kind == "power failure":
            self.disk.restart()


def _differences(run: Run, expected: Run) -> str:
    """What differs between two runs; '' if nothing does."""
    if run.read_result() != expected.read_result():
        return "result.json"
    if (run.path / "samples.h5").read_bytes() != (expected.path / "samples.h5").read_bytes():
        return "samples.h5"
    return "" if are_equal(run, expected) else "weights or metrics.csv"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", choices=_MODELS, default="base")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    store = made_store(arguments.folder / "corpus.h5", [Split.TRAIN] * 6 + [Split.VALID], steps=220)
    sections = _MODELS[arguments.model] | {"checkpoints": {"every_iterations": _EVERY_ITERATIONS, "retry_min": 0}}
    settings = SETTINGS | sections
    disk = Disk(arguments.folder)

    expected = prepare(arguments.folder / "uninterrupted" / "runs", store, **settings)
    started = time.monotonic()
    with subprocess.Popen(attempt(expected), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: iteration_of(expected) > 0, "the first checkpoint", timeout_s=600)
        longest_s = 2 * (time.monotonic() - started)
    if process.returncode:
        sys.exit(" ".join(state_of(expected)))

    draw, counts, num_runs = random.Random(arguments.seed), Counter[str](), 0
    while counts.total() < arguments.num:
        run = prepare(disk.path / f"run-{num_runs}" / "runs", store, **settings)
        interrupted = InterruptedRun(run, disk, draw, longest_s)
        while run.read_result() is None:
            kind = interrupted.interrupt()
            if kind is None and run.read_result() is None:
                sys.exit(f"an attempt failed: {' '.join(state_of(run))}")
            counts.update([kind] if kind else [])
        num_runs += 1
        differences = _differences(run, expected)
        if differences:
            sys.exit(f"run {num_runs} differs: {differences}")
        attempts = len(run.read_provenance().attempts)
        print(f"run {num_runs} is equal after {attempts} recorded attempts; {dict(counts)}", flush=True)
        subprocess.run(["rm", "-r", str(run.sweep.parent)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
