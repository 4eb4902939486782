"""The status of each run: `read_facts` collects the facts about a run, from which `run_state.decide` decides its state."""

import re
import shutil
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.cluster import client, job_states
from jobs.cluster.job_states import JobKey, JobPhase, JobState
from jobs.records import packs, submissions
from jobs.records.provenance import Attempt, Outcome
from jobs.records.run_directory import Run
from jobs.records.run_state import Execution, RunFacts, State, decide
from jobs.records.submissions import TrainingJob, number_of
from pianogen import lock
from pianogen.command import counted
from pianogen.progress import ProgressRecord, read_progress

# The log of a job that was killed for its memory: with control groups, and without, where accounting only reports FAILED.
_OUT_OF_MEMORY = re.compile(r"exceeded (?:job |step )?memory limit|oom.?kill", re.IGNORECASE)
_MAX_LINE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a run.

    Attributes:
        state: waiting, running, done or failed.
        reason: what happened, why, and what to do; '' if the state needs no explanation.
        job: id of the job that is pending or running for the run; '' if there is none.
        progress: of a running attempt that has reported any.
    """

    state: State
    reason: str = ""
    job: str = ""
    progress: ProgressRecord | None = None

    @property
    def is_active(self) -> bool:
        """Whether a job is pending or running, or a process outside of Slurm is training the run."""
        return self.job != "" or self.state is State.RUNNING


def read_facts(run: Run, job: TrainingJob | None, job_state: JobState | None, unqueried_reason: str = "") -> RunFacts:
    """The facts about a run.

    Args:
        job: that trains the run, or was last queued to train it; None if there is none.
        job_state: None if Slurm has no record of the job, or was not queried.
        unqueried_reason: why Slurm was not queried; '' if it was.

    Raises:
        RecordError: a record of the run is damaged.
    """
    if run.read_result() is not None:
        return RunFacts(has_result=True)
    last = next(reversed(run.read_provenance().attempts), None)
    owner = lock.find_owner(run.lock)
    is_own = owner is not None and last is not None and (owner.host, owner.pid) == (last.host, last.pid)
    is_by_hand = last is not None and not last.job and last.submission == (job.submission.name if job else "")
    if last is not None and is_by_hand and (owner is None or (is_own and last.outcome is Outcome.UNRECORDED)):
        execution = Execution.RUNNING if owner else Execution.KILLED
        return _complete(RunFacts(execution=execution, attempt=last, log=run.path / last.log), run)
    # Slurm's state of a job is more reliable than the lock, which a killed process leaves behind.
    is_explained = is_own and last is not None and job is not None and last.job == job.id and job_state is not None
    if owner is not None and not is_explained:
        attempt = last if is_own else None
        return _complete(RunFacts(execution=Execution.LOCKED, owner=owner, attempt=attempt), run)
    if job is None:
        return RunFacts()
    return _facts_of_job(run, job, job_state, last, unqueried_reason)


def _facts_of_job(
    run: Run, job: TrainingJob, job_state: JobState | None, last: Attempt | None, unqueried_reason: str
) -> RunFacts:
    attempt = last if last is not None and _belongs_to(last, job.id, job_state) else None
    output = job.submission / f"{job.id}_0_log.err"  # the name that submitit gives to the output
    own_output = packs.log_file(job.submission, job.id, run.name)
    log = run.path / attempt.log if attempt else own_output if own_output.is_file() else output
    if job_state is None:
        # The job of an attempt that was interrupted is requeued.
        has_ended = attempt is not None and attempt.outcome in (Outcome.FINISHED, Outcome.FAILED)
        execution = Execution.UNKNOWN if unqueried_reason and not has_ended else Execution.FORGOTTEN
    else:
        execution = _EXECUTIONS[job_state.phase]
        attempt = last if execution is Execution.PENDING else attempt
        if job_state.signal == signal.SIGKILL and _OUT_OF_MEMORY.search(_text(output)):
            job_state = replace(job_state, state="OUT_OF_MEMORY")
    return _complete(RunFacts(False, execution, job.id, job_state, attempt, log=log, unqueried_reason=unqueried_reason), run)


_EXECUTIONS = {
    JobPhase.PENDING: Execution.PENDING,
    JobPhase.RUNNING: Execution.RUNNING,
    JobPhase.ENDED: Execution.ENDED,
}


def _belongs_to(attempt: Attempt, job: str, job_state: JobState | None) -> bool:
    """Whether an attempt is the last that a job began: a requeued job may have ended before it could begin another."""
    if attempt.job != job or job_state is None:
        return attempt.job == job
    if job_state.restarts is None:
        return not (attempt.outcome is Outcome.INTERRUPTED and job_state.state == "FAILED")
    return attempt.restart == job_state.restarts


def _complete(facts: RunFacts, run: Run) -> RunFacts:
    """Adds the age of the attempt's end, the progress of a running attempt, and the last line that an ended job has logged."""
    if facts.attempt is not None:
        facts = replace(facts, since_end_s=facts.attempt.since_end_s)
    if facts.execution in (Execution.RUNNING, Execution.LOCKED) and facts.attempt is not None:
        return replace(facts, progress=read_progress(run.progress))
    if facts.execution is Execution.ENDED:
        lines = [line for line in _text(facts.log).splitlines() if line.strip()]
        own = [line for line in lines if not line.startswith(("srun:", "slurmstepd:"))]
        return replace(facts, last_line=own[-1].strip()[:_MAX_LINE_LENGTH] if own else "")
    return facts


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def read_statuses(runs: Sequence[Run]) -> dict[Run, Status]:
    """The status of each run; squeue is called once for all of them.

    Raises:
        SlurmError: Slurm is installed on this machine and does not respond.
        RecordError: a record is damaged.
    """
    jobs_of_sweeps = {sweep: submissions.training_jobs(sweep) for sweep in {run.sweep for run in runs}}
    jobs = {run: _candidates(run, jobs_of_sweeps[run.sweep].get(run.name, [])) for run in runs if run.read_result() is None}
    has_slurm = shutil.which("squeue") is not None
    keys = {job.key for candidates in jobs.values() for job in candidates if not job.is_copy}
    states = job_states.query_states(keys) if has_slurm else {}
    cluster = client.cluster_name() if has_slurm and keys - states.keys() else ""
    statuses = {}
    for run in runs:
        own_states = _states_of(run, jobs.get(run, []), states)
        job = _current(jobs.get(run, []), own_states)
        unqueried_reason = _find_unqueried_reason(job, has_slurm, cluster) if job and job.key not in states else ""
        facts = read_facts(run, job, own_states.get(job.key) if job else None, unqueried_reason)
        state, reason = decide(facts)
        is_live = facts.execution in (Execution.PENDING, Execution.RUNNING, Execution.UNKNOWN)
        statuses[run] = Status(state, reason, facts.job if is_live and state is not State.FAILED else "", facts.progress)
    return statuses


def _candidates(run: Run, jobs: Sequence[TrainingJob]) -> list[TrainingJob]:
    """The jobs that may train a run: that of its last attempt, and those that were queued later."""
    attempts = run.read_provenance().attempts
    replaced_by = number_of(attempts[-1].submission) if attempts else -1
    return [job for job in jobs if number_of(job.submission.name) >= replaced_by]


def _states_of(run: Run, jobs: Sequence[TrainingJob], states: Mapping[JobKey, JobState]) -> dict[JobKey, JobState]:
    """The states of the jobs of a run; the state of a packed job is that of the process of the run."""
    return {job.key: packs.state_of_run(job.submission, job.id, run.name, states[job.key]) for job in jobs if job.key in states}


def _current(jobs: Sequence[TrainingJob], states: Mapping[JobKey, JobState]) -> TrainingJob | None:
    """The job that is running, or else pending, or else the last one: a job replaces another when it has begun an attempt."""
    for phase in (JobPhase.RUNNING, JobPhase.PENDING):
        for job in jobs:
            if job.key in states and states[job.key].phase is phase:
                return job
    return jobs[-1] if jobs else None


def _find_unqueried_reason(job: TrainingJob, has_slurm: bool, cluster: str) -> str:
    """The reason why this machine cannot query the Slurm of a job; '' if it can."""
    if job.is_copy:
        return ""
    if not has_slurm:
        return "Slurm is not installed on this machine"
    if job.key.cluster != cluster:
        return f"it belongs to the cluster {job.key.cluster}, and this is {cluster}"
    return ""


def count(states: Sequence[State]) -> str:
    """The number of runs in each state, such as "4 runs, 1 waiting, 3 done"."""
    counts = Counter(states)
    return f"{counted(len(states), 'run')}, " + ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
