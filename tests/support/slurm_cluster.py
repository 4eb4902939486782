"""A Slurm cluster for tests: accounting, a controller, and nodes that can fail, all without privileges on this machine.

python -m tests.support.slurm_cluster        # a cluster for another shell; prints the variable to set there, ends with Ctrl-C
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.programs.slurm_supervisor import ClusterError, search_path
from tests.support.paths import PROGRAMS, ROOT
from tests.support.processes import POLL_S, wait_until

_PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")
_ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT")


def missing_programs() -> list[str]:
    """The required programs that are not installed."""
    return [name for name in _PROGRAMS if shutil.which(name, path=search_path()) is None]


class SlurmCluster:
    """A Slurm cluster that exists while the context is entered.

    Attributes:
        folder: the files of the cluster: etc/slurm.conf, log/, …
        env: the environment in which Slurm's programs use this cluster.
    """

    folder: Path
    env: dict[str, str]

    def __enter__(self) -> Self:
        self._supervisor = subprocess.Popen(
            [sys.executable, PROGRAMS / "slurm_supervisor.py", "supervise"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C must reach the tests only, which then end the cluster
        )
        try:
            self.folder = Path(self._answer())
        except BaseException:
            self._stop()
            raise
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
        self.env |= {"SLURM_CONF": str(self.folder / "etc/slurm.conf"), "PATH": search_path()}
        # MPICH publishes the address of a rank in one line. That of UCX varies, and can exceed what Slurm's PMI reads.
        self.env |= {"MPIR_CVAR_CH4_NETMOD": "ofi"}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def run(self, *command: str | Path, cwd: Path | None = None, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Runs one of Slurm's programs to its end."""
        return subprocess.run(
            list(map(str, command)), cwd=cwd, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def field(self, job: str, name: str) -> str:
        """A field of `scontrol show job`, such as JobState, ExitCode or Restarts; '' if there is none."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).stdout.split()
        return next((word.partition("=")[2] for word in words if word.startswith(name + "=")), "")

    def wait(self, job: str, timeout_s: float = 100) -> str:
        """Waits until a job has ended and is not requeued after a node failure; its state."""
        state = ""

        def has_ended() -> bool:
            nonlocal state
            state = self.field(job, "JobState")
            return state in _ENDED or (state == "NODE_FAIL" and self.field(job, "Requeue") == "0")

        wait_until(has_ended, f"job {job} has ended", timeout_s, POLL_S)
        return state

    def kill_node(self, name: str) -> None:
        """Ends the slurmd of a node and all processes on it at once, like a power failure."""
        self._request(f"kill {name}")

    def start_node(self, name: str) -> None:
        """Starts a node, and waits until it is idle."""
        self._request(f"start {name}")

    def _request(self, request: str) -> None:
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.write(request + "\n")
        self._supervisor.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._supervisor.stdout is not None
        verdict, _, text = self._supervisor.stdout.readline().rstrip("\n").partition(" ")
        if verdict != "ok":
            raise ClusterError(text.replace("\\n", "\n") or "the supervisor of the cluster has ended")
        return text

    def _stop(self) -> None:
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        self._supervisor.stdin.close()
        self._supervisor.wait(timeout=30)
        self._supervisor.stdout.close()


if __name__ == "__main__":
    with SlurmCluster() as cluster:
        print(f"export SLURM_CONF={cluster.folder}/etc/slurm.conf", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
