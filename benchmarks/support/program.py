"""The preprocessing program, started as users start it, on chosen cores: the times of its phases and the memory of its ranks."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.process_tree import descendants, mpi_rank
from pianogen.errors import PianogenError, UsageError

_SAMPLING_INTERVAL_S = 0.01
_TIMING = "DEBUG timing: "  # followed by a JSON object; the program logs this line with --verbose


@dataclass(frozen=True, slots=True)
class Timing:
    """The seconds of one program.

    Attributes:
        start_s: everything before and after the other two: imports, the start of MPI, scanning the corpus, shutting down.
        convert_s: converting the inputs.
        merge_s: writing ledger and store.
    """

    start_s: float
    convert_s: float
    merge_s: float

    @property
    def total_s(self) -> float:
        """From the start of the process to its end."""
        return self.start_s + self.convert_s + self.merge_s


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory of one program in MB.

    Attributes:
        pss: proportional set size of the largest rank, summed over its processes.
        rss: resident set size of the largest process.
    """

    pss: float
    rss: float


def command_line(corpus: Path, store: Path, ranks: int) -> list[str]:
    """The command line of the program; one rank is started without mpiexec.

    Raises:
        UsageError: mpiexec is not installed.
    """
    python = [sys.executable]
    if ranks > 1:
        mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if mpiexec is None:
            raise UsageError("mpiexec is not installed; run pip install mpich, then this command again")
        python = [mpiexec, "-n", str(ranks), sys.executable, "-m", "mpi4py"]
    return [*python, "-m", "preprocess", str(corpus), "--store", str(store), "--max-rejects", "1", "--verbose"]


def time_programs(commands: Sequence[Sequence[str]], cores: Collection[int]) -> list[Timing]:
    """Runs programs at the same time on the same cores, all to their end.

    Raises:
        PianogenError: a program failed.
    """
    with on_cores(cores), ThreadPoolExecutor(len(commands)) as threads:
        return list(threads.map(_time_program, commands))


def measure_memory(command: Sequence[str]) -> Memory:
    """Runs a program and samples the memory of its processes a hundred times per second.

    Raises:
        PianogenError: the program failed.
    """
    peak_pss: defaultdict[int, float] = defaultdict(float)
    peak_rss = 0.0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        while process.poll() is None:
            pss_of_rank: defaultdict[int, float] = defaultdict(float)
            for pid in (process.pid, *descendants(process.pid)):
                with suppress(OSError, ValueError):  # the process has ended
                    rank = 0 if command[0] == sys.executable else mpi_rank(pid)
                    if rank is not None:  # None: mpiexec and its proxies
                        pss, rss = _pss_and_rss(pid)
                        pss_of_rank[rank] += pss
                        peak_rss = max(peak_rss, rss)
            for rank, pss in pss_of_rank.items():
                peak_pss[rank] = max(peak_pss[rank], pss)
            time.sleep(_SAMPLING_INTERVAL_S)
        log.seek(0)
        _check_exit_code(command, process.returncode, log.read())
    return Memory(max(peak_pss.values()), peak_rss)


def _time_program(command: Sequence[str]) -> Timing:
    begin = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    total_s = time.perf_counter() - begin
    _check_exit_code(command, done.returncode, done.stderr)
    (line,) = [line for line in done.stderr.splitlines() if _TIMING in line]
    phases: dict[str, float] = json.loads(line.partition(_TIMING)[2])
    return Timing(total_s - sum(phases.values()), phases["convert_s"], phases["merge_s"])


def _check_exit_code(command: Sequence[str], exit_code: int, log: str) -> None:
    if exit_code != 0:
        raise PianogenError(f"{' '.join(command)} ended with exit code {exit_code}:\n{log[-2000:]}")


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Processes and threads that are started in this context stay on these cores."""
    previous_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, previous_cores)


def _pss_and_rss(pid: int) -> tuple[float, float]:
    """In MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines[1:]}
    return sizes["Pss"], sizes["Rss"]
