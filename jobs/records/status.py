"""What became of each run: its directory says it; Slurm is asked, once for all, about those that have not ended.

A run is done if it has a result. An attempt that ended says so in provenance.json, with the reason; one that did not is still
at work, if its scheduler knows it, or else was killed, and then the scheduler knows why.
"""

import re
import shutil
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from jobs.cluster import slurm
from jobs.cluster.slurm import JobState
from jobs.records import run_directory, submissions
from jobs.records.run_directory import Run
from pianogen import lock
from pianogen.progress import ProgressRecord, read_progress

State = Literal["waiting", "running", "done", "failed"]
# What Slurm writes into a job's log where its accounting says FAILED: without control groups, and with them.
_OUT_OF_MEMORY = re.compile(r"exceeded (?:job |step )?memory limit|oom.?kill", re.IGNORECASE)
_CAUSES = {
    "OUT_OF_MEMORY": "out of memory: raise slurm.memory_gb, or lower training.batch",
    "TIMEOUT": "its time limit ended it before it could leave; raise slurm.timeout_min",
    "DEADLINE": "its time limit ended it before it could leave; raise slurm.timeout_min",
    "NODE_FAIL": "its node failed, and Slurm did not queue it again",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "it was preempted, and Slurm did not queue it again",
}


@dataclass(frozen=True, slots=True)
class Status:
    """What became of a run.

    Attributes:
        state: waiting, running, done or failed.
        reason: in plain words: why it waits or failed; '' if there is nothing to say.
        job: Slurm's id of the job that is queued or running for it; '' if none is.
        progress: of a running one, None if it has not reported any.
    """

    state: State
    reason: str = ""
    job: str = ""
    progress: ProgressRecord | None = None

    @property
    def is_queued_or_running(self) -> bool:
        return self.job != "" or self.state == "running"


def look(runs: Sequence[Run]) -> list[Status]:
    """The status of each run.

    Raises:
        SlurmError: Slurm is here and does not answer.
        RecordError: a record is damaged.
    """
    newest = {out: submissions.last_to_train(out) for out in {run.path.absolute().parent for run in runs}}
    jobs = {run: newest[run.path.absolute().parent].get(run.name) for run in runs if run.read_result() is None}
    names = {queued[0]: queued[1].job_name for queued in jobs.values() if queued}
    known = slurm.ask(names) if shutil.which("squeue") else {}
    found = []
    for run in runs:
        queued = jobs.get(run)
        job, folder = (queued[0], queued[1].folder) if queued else ("", Path())
        found.append(_status(run, known.get(job), job, folder))
    return found


def count(states: Sequence[State]) -> str:
    """How many there are of each state: '4 runs, 1 waiting, 3 done'."""
    counts = Counter(states)
    return f"{len(states)} runs, " + ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])


def _status(run: Run, known: JobState | None, job: str, folder: Path) -> Status:
    """Judges by the last attempt, as far as it belongs to what was queued last, and where it says nothing by what Slurm knows."""
    if run.read_result() is not None:  # perhaps since Slurm was asked
        return Status("done")
    attempts = run.read_provenance()["attempts"]
    last = attempts[-1] if attempts else None
    if last is not None and last["job"] == "" and last["submission"] == folder.name:
        return _outside_of_slurm(run, last)
    if known is not None and known.phase == "queued":
        return Status("waiting", _queued(known, job, last), job)
    if last is not None and _is_of(last, job, known):
        if "ended" in last:
            return _left(run, last, job if known is not None and known.phase == "running" else "")
        if known is not None and known.phase == "running":
            return _at_work(run, job)
    if known is not None and known.phase == "running":
        return Status("running", f"job {job} is starting", job)
    if known is not None:
        return _ended(run, known, job, folder, last)
    if not job:
        return Status("waiting", "it is not queued")
    return _unknown(run, job, folder, last)


def _is_of(attempt: Mapping[str, Any], job: str, known: JobState | None) -> bool:
    """Whether an attempt is the last thing that a job did."""
    if attempt["job"] != job or known is None:
        return bool(attempt["job"] == job)
    if known.restarts is None:  # it left, was queued again, and failed before it was there again
        return not ("left" in attempt and known.state == "FAILED")
    return bool(attempt["restart"] == known.restarts)


def _left(run: Run, attempt: Mapping[str, Any], job: str) -> Status:
    """What an attempt that has ended said at its end; `job` is that which still runs for it."""
    if "error" in attempt:
        return Status("failed", attempt["error"])
    if "left" in attempt:
        return Status("waiting", attempt["left"] if job else f"{attempt['left']}; it is not queued", job)
    ended_s = datetime.now(UTC).timestamp() - datetime.fromisoformat(attempt["ended"]).timestamp()
    if ended_s < run_directory.HIDDEN_S:
        return Status("running", "it has ended, and its result is not to be seen yet", job)
    return Status("failed", f"it ended well, and {run.path / 'result.json'} is not there: it was removed")


def find_process(run: Run) -> lock.Owner | None:
    """The process that trains a run outside of Slurm, as `lock.find_owner` tells of it; None if none does."""
    attempts = run.read_provenance()["attempts"]
    if not attempts or "ended" in attempts[-1] or attempts[-1]["job"]:
        return None
    return lock.find_owner(run.lock)


def _outside_of_slurm(run: Run, attempt: Mapping[str, Any]) -> Status:
    if "ended" in attempt:
        return _left(run, attempt, "")
    if find_process(run) is None:
        return Status("failed", f"its process ended without a word; see {run.path / attempt['log']}")
    return _at_work(run)


def _queued(known: JobState, job: str, last: Mapping[str, Any] | None) -> str:
    why = f"queued as job {job} ({known.reason or known.state})"
    if last is None:
        return why
    before = last.get("error") or last.get("left") or f"the attempt on {last['host']} ended without a word"
    return f"{why}; {before}"


def _ended(run: Run, known: JobState, job: str, folder: Path, last: Mapping[str, Any] | None) -> Status:
    """What a job that has ended left behind where its attempt did not say it."""
    said_by_slurm = folder / f"{job}_0_log.err"  # submitit's name for it
    log = run.path / last["log"] if last is not None and _is_of(last, job, known) else said_by_slurm
    if known.state == "CANCELLED":
        return Status("waiting", f"job {job} was cancelled; it is not queued")
    state = "OUT_OF_MEMORY" if known.signal == signal.SIGKILL and _OUT_OF_MEMORY.search(_text(said_by_slurm)) else known.state
    if state in _CAUSES:
        return Status("failed", f"{_CAUSES[state]}; see {log}")
    ending = f"signal {known.signal} ({_name(known.signal)})" if known.signal else f"exit code {known.exit_code}"
    said = _last_line(log)
    return Status("failed", f"job {job} ended with {ending} and without a word" + (f": {said}" if said else "") + f"; see {log}")


def _unknown(run: Run, job: str, folder: Path, last: Mapping[str, Any] | None) -> Status:
    """A job that has not said how it ended, and that Slurm, if it is here, has forgotten."""
    has_begun = last is not None and last["job"] == job
    if not shutil.which("squeue"):
        return Status("running" if has_begun else "waiting", f"job {job} cannot be asked about from here: there is no Slurm", job)
    if last is None or not has_begun:  # so forgets Slurm one task of an array that is cancelled before it began
        return Status("waiting", f"it is not queued: Slurm knows nothing of job {job} any more, and it never began; see {folder}")
    return Status("failed", f"Slurm knows nothing of job {job} any more; see {run.path / last['log']}")


def _at_work(run: Run, job: str = "") -> Status:
    progress = read_progress(run.path / "log" / "progress.json")  # an attempt removes that of the attempt before
    return Status("running", "" if progress else "it is starting", job, progress)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of another system
        return "unknown"


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _last_line(path: Path) -> str:
    lines = [line for line in _text(path).splitlines() if line.strip() and not line.startswith(("srun:", "slurmstepd:"))]
    return lines[-1].strip()[:300] if lines else ""
