"""Cancellation of the runs of a sweep, in Slurm's queue and on this machine."""

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from jobs.cluster import slurm
from jobs.records import local_queue, packs, run_processes, status, submissions
from jobs.records.selection import open_selected
from jobs.records.submissions import LiveJob
from jobs.records.sweep_directory import JOBS
from pianogen.command import counted


def cancel(target: Path, selection: Sequence[str] = (), is_dry_run: bool = False) -> None:
    """Cancels the jobs of a sweep, of some of its runs or of one run, and sends SIGTERM to its processes on this machine.

    Runs that are being trained write a checkpoint before they exit. A job or a local command of several runs continues with those
    that were not selected.

    Args:
        selection: see `open_selected`.
        is_dry_run: print what would be cancelled, and cancel nothing.

    Raises:
        UsageError: the selection matches no run.
        SlurmError: Slurm does not respond.
    """
    runs = open_selected(target, selection)
    jobs = submissions.live_jobs(runs) if shutil.which("squeue") else []
    packed = [job for job in jobs if job.has_others]
    complete = [job.id for job in jobs if not job.has_others]
    queued_names = {name for job in jobs for name in job.runs}
    processes = [(run, owner) for run in runs for owner in run_processes.find_processes(run)]
    processes = [(run, owner) for run, owner in processes if not owner.job.id or run.name not in queued_names]  # not of a job
    local = [owner.pid for _, owner in processes if owner.is_on_this_machine]
    waiting = local_queue.find(runs[0].sweep / JOBS, [run.name for run in runs])
    local_names = {*(run.name for run, _ in processes), *(name for _, name in waiting)}
    num_jobs, num_processes = counted(len(complete), "job") + _of_packs(packed), counted(len(local), "process")
    if is_dry_run:
        for name in sorted(queued_names | local_names):
            print(name)
        print(f"{num_jobs}{_of_queue(waiting)} and {num_processes} of this machine would be cancelled; nothing was cancelled")
        return
    waiting = [(submission, name) for submission, name in waiting if local_queue.take(submission, name)]
    if complete:
        slurm.cancel(complete)
    for job in packed:
        for name in job.runs:
            packs.cancel(job.submission, name)
    for pid in local:
        with suppress(ProcessLookupError):  # it has ended in the meantime
            os.kill(pid, signal.SIGTERM)
    sent = f"sent SIGTERM to {num_processes} of this machine"
    print(f"cancelled {num_jobs}{_of_queue(waiting)}, and {sent}; status shows when they end")
    for run, entry in status.read_statuses([run for run in runs if run.name not in queued_names | local_names]).items():
        if entry.is_active:  # elsewhere, such as in the queue of another cluster
            print(f"{run.name} was not cancelled: {entry.reason}")
    for run, owner in processes:
        if not owner.is_on_this_machine:
            print(f"process {owner.pid} on {owner.host} works on {run.name}: end it on that machine")


def _of_packs(jobs: Sequence[LiveJob]) -> str:
    """The runs of jobs that continue with other runs; '' if there are none."""
    num = sum(len(job.runs) for job in jobs)
    return f", {counted(num, 'run')} of jobs that have other runs" if num else ""


def _of_queue(waiting: Sequence[tuple[Path, str]]) -> str:
    """The runs that local commands have not started; '' if there are none."""
    return f", {counted(len(waiting), 'waiting run')}" if waiting else ""
