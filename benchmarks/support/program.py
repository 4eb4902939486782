"""The preprocessing program as its users start it, on chosen cores: when its parts began, and how much memory each rank has."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pianogen.errors import PianogenError, UsageError

_SAMPLE_EVERY_S = 0.01
_CONVERSION_BEGINS = re.compile(r"^\d+ inputs, \d+ ranks?$")
_CONVERSION_ENDS = re.compile(r"^preprocess: ([\d,]+) of \1 inputs")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one program: until the first input, converting, merging until the process is gone."""

    start_s: float
    convert_s: float
    merge_s: float

    @property
    def whole_s(self) -> float:
        return self.start_s + self.convert_s + self.merge_s


@dataclass(slots=True)
class Memory:
    """The most that was seen, in MB.

    Attributes:
        pss: by rank, proportional set size summed over its processes.
        rss: resident set of the largest single process.
    """

    pss: dict[int, float] = field(default_factory=dict)
    rss: float = 0.0


def command_line(corpus: Path, store: Path, ranks: int) -> list[str]:
    """One rank is started without mpiexec."""
    python = [sys.executable]
    if ranks > 1:
        mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if mpiexec is None:
            raise UsageError("mpiexec is not installed; run pip install mpich, then this command again")
        python = [mpiexec, "-n", str(ranks), sys.executable, "-m", "mpi4py"]
    return [*python, "-m", "preprocess", str(corpus), "--store", str(store), "--max-rejects", "1"]


def timed(commands: Sequence[Sequence[str]], cores: Collection[int]) -> list[Timing]:
    """Runs programs at the same time on the same cores, each to its end.

    Raises:
        PianogenError: one failed; with what it said.
    """
    with _on_cores(cores):
        watches = [_Watch(command) for command in commands]
    return [watch.timing() for watch in watches]


def measured(command: Sequence[str]) -> Memory:
    """Runs a program and looks at the memory of its processes a hundred times a second.

    Raises:
        PianogenError: it failed; with what it said.
    """
    watch = _Watch(command)
    memory = Memory()
    while watch.process.poll() is None:
        now: defaultdict[int, float] = defaultdict(float)
        for pid in _descendants(watch.process.pid):
            rank = _rank(pid, command)
            with suppress(OSError, ValueError):  # it has ended since
                if rank is not None:
                    pss, rss = _pss_and_rss(pid)
                    now[rank] += pss
                    memory.rss = max(memory.rss, rss)
        for rank, pss in now.items():
            memory.pss[rank] = max(memory.pss.get(rank, 0.0), pss)
        time.sleep(_SAMPLE_EVERY_S)
    watch.timing()
    return memory


class _Watch:
    """A program, and when it said what."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command, self._begin = command, time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self._lines.append((time.perf_counter(), line.rstrip("\n")))
        self.process.wait()
        self._end = time.perf_counter()

    def timing(self) -> Timing:
        self._reader.join()
        said = "\n".join(line for _, line in self._lines)
        if self.process.returncode != 0:
            raise PianogenError(f"{' '.join(self._command)} ended with {self.process.returncode}:\n{said[-2000:]}")
        begins = [at for at, line in self._lines if _CONVERSION_BEGINS.match(line)]
        ends = [at for at, line in self._lines if _CONVERSION_ENDS.match(line)]
        if not begins or not ends:
            raise PianogenError(f"{' '.join(self._command)} did not say when it began and ended to convert:\n{said[-2000:]}")
        return Timing(begins[0] - self._begin, ends[-1] - begins[0], self._end - ends[-1])


@contextmanager
def _on_cores(cores: Collection[int]) -> Iterator[None]:
    """Children started inside stay on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _descendants(pid: int) -> list[int]:
    """This process and those below it."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended since
            children[int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])].append(int(stat.parent.name))
    found = [pid]
    for each in found:  # grows while it is read
        found += children[each]
    return found


def _rank(pid: int, command: Sequence[str]) -> int | None:
    """The rank a process belongs to; None for mpiexec and its proxies."""
    if command[0] == sys.executable:
        return 0
    with suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if variable.startswith(b"PMI_RANK="):
                return int(variable.removeprefix(b"PMI_RANK="))
    return None


def _pss_and_rss(pid: int) -> tuple[float, float]:
    """In MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines[1:]}
    return sizes["Pss"], sizes["Rss"]
