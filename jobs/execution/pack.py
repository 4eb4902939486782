"""A packed job: it trains several runs, each in a process of its own, and requeues itself when it was interrupted.

A process per run keeps the states of TensorFlow apart, and the failure of one does not affect the others. The job starts them in
order, some at a time, and records them (jobs/records/packs.py). After a requeue, it continues the runs that are neither done nor
failed.
"""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from jobs.cluster import own_job
from jobs.cluster.own_job import OwnJob
from jobs.configuration.run_config import SlurmConfig
from jobs.execution import shutdown
from jobs.execution.requeue import requeue
from jobs.execution.shutdown import flag_shutdown
from jobs.records import packs
from jobs.records.packs import Pack, ProcessEnd
from jobs.records.run_directory import Run
from pianogen.command import counted
from pianogen.errors import Interrupted, PianogenError

INTERRUPTED = 3  # exit code of the process of a run; an uncaught exception exits with 1
_POLL_S = 0.5
_log = logging.getLogger(__name__)


class PackError(PianogenError):
    """Some runs of a packed job failed."""


def run_pack(resources: SlurmConfig, runs: Sequence[Run]) -> None:
    """Trains the runs of the job of this process; after a shutdown signal, the job is requeued.

    Args:
        resources: of the job.
        runs: of one sweep, in the order in which they start.

    Raises:
        PackError: some runs failed; the others are done.
        Interrupted: a shutdown signal arrived before the runs were done.
        SlurmError: the job was not requeued.
    """
    own = own_job.own_job()
    processes = _Processes(own, runs)
    with flag_shutdown() as shutdown_requested:
        try:
            while processes.update(0 if shutdown_requested() else resources.runs_per_gpu):
                time.sleep(_POLL_S)
        finally:
            processes.terminate()  # after an error of this process
        unfinished = processes.unfinished
        if unfinished and resources.is_requeued:
            requeue(own, resources.signal_lead_s)
            raise Interrupted(f"received a shutdown signal; runs to continue: {', '.join(unfinished)}")
    failed = processes.failed
    if failed:
        raise PackError(f"{len(failed)} of {counted(len(runs), 'run')} failed: {', '.join(failed)}; see pianogen sweep status")


class _Processes:
    """The processes of the runs of a job."""

    def __init__(self, own: OwnJob, runs: Sequence[Run]) -> None:
        self._own = own
        before = packs.read(own.folder, own.id)
        self._record = Pack(own.restarts, ended=before.ended if before else {})
        self._running: dict[Run, subprocess.Popen[bytes]] = {}
        self._written: Pack | None = None
        self._waiting = [run for run in runs if run.name not in self._record.ended]

    @property
    def unfinished(self) -> list[str]:
        """The runs that were interrupted or have not started, and were not cancelled."""
        return sorted(run.name for run in self._waiting if not self._is_cancelled(run))

    @property
    def failed(self) -> list[str]:
        """The runs that have failed since the job started for the first time."""
        return sorted(run for run, end in self._record.ended.items() if end.has_failed)

    def update(self, limit: int) -> bool:
        """Starts processes up to a limit, and records those that have ended; returns whether there is work left.

        Args:
            limit: processes at a time; 0 after a shutdown signal, when the running ones have to end.
        """
        is_shut_down = limit == 0
        for run in [run for run, process in self._running.items() if process.poll() is not None]:
            self._record_end(run, self._running.pop(run).returncode, is_shut_down)
        for run, process in self._running.items():
            if is_shut_down or self._is_cancelled(run):
                process.terminate()  # at every update: a process that is starting ignores the signal
        while self._waiting and len(self._running) < limit:
            run = self._waiting.pop(0)
            if not self._is_cancelled(run):
                self._start(run)
        if self._record != self._written:
            with suppress(OSError):  # on a full disk, the runs continue, and the next update tries again
                packs.write(self._own.folder, self._own.id, self._record)
                self._written = self._record
        return bool(self._running or (self._waiting and not is_shut_down))

    def terminate(self) -> None:
        """Ends all processes, which write checkpoints."""
        while self._running:
            self.update(0)
            time.sleep(_POLL_S)

    def _is_cancelled(self, run: Run) -> bool:
        return packs.is_cancelled(self._own.folder, run.name)

    def _start(self, run: Run) -> None:
        command = [sys.executable, "-m", "jobs.execution.packed_run", str(run.path)]
        with _output(packs.log_file(self._own.folder, self._own.id, run.name)) as output, _signals_blocked():
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _log.info("%s: started process %d", run.name, process.pid)
        self._running[run] = process
        self._record = replace(self._record, running=self._record.running | {run.name})

    def _record_end(self, run: Run, code: int, is_shut_down: bool) -> None:
        _log.info("%s: process ended with %s", run.name, f"exit code {code}" if code >= 0 else f"signal {-code}")
        if code == INTERRUPTED:
            self._waiting.append(run)
        else:
            end = ProcessEnd(self._own.restarts, max(code, 0), max(-code, 0))
            self._record = replace(self._record, ended={**self._record.ended, run.name: end})
        if code != INTERRUPTED or not is_shut_down:
            self._record = replace(self._record, running=self._record.running - {run.name})


@contextmanager
def _output(path: Path) -> Iterator[BinaryIO | None]:
    """The file that the output of a process is appended to; None, which is the output of this process, if it cannot be opened."""
    try:
        file = path.open("ab")
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error.strerror)
        yield None
    else:
        with file:
            yield file


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes started in the context have shutdown signals blocked, which would end them before they can handle them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, shutdown.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
