"""submitit's executor, with two changes.

Jobs that Slurm has queued although sbatch reported an error are found: sbatch reports a timeout if the controller is slow to
answer, and the controller may have queued the jobs nevertheless. And the id of a job is not taken from other lines of the output,
which the sbatch of some sites prints.
"""

import re
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import DelayedSubmission, FailedJobError, JobPaths

from jobs.cluster import client, job_states
from pianogen.polling import wait_until

_UNCERTAIN = re.compile(
    r"timed? ?out|zero bytes|receive failure|unexpected message|communication|unable to contact", re.IGNORECASE
)
_SUBMITTED = re.compile(r"Submitted batch job (\d+)")
_SEARCH_S, _POLL_S = 20.0, 2.0


class UncertainError(FailedJobError):  # type: ignore[misc]  # submitit has no type information
    """sbatch failed, and Slurm may still queue the jobs."""


class ArrayExecutor(submitit.SlurmExecutor):  # type: ignore[misc]
    """Queues jobs as one array.

    Args:
        folder: for the script, the pickles and the output of the jobs.
        known: the ids of arrays that have been queued with this folder before.
    """

    def __init__(self, folder: Path, known: Collection[str]) -> None:
        super().__init__(folder=folder)
        self._known = known

    def _internal_process_submissions(self, delayed_submissions: Sequence[DelayedSubmission]) -> list[submitit.Job[Any]]:
        """As in submitit, which queues an array with another executor than this one."""
        num_jobs = len(delayed_submissions)
        if num_jobs == 1:
            jobs: list[submitit.Job[Any]] = super()._internal_process_submissions(delayed_submissions)
            return jobs
        folder = JobPaths.get_first_id_independent_folder(self.folder)
        pickles = [folder / f"{uuid.uuid4().hex}.pkl" for _ in delayed_submissions]
        for delayed, path in zip(delayed_submissions, pickles, strict=True):
            delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
            delayed.dump(path)
        self.parameters["map_count"] = num_jobs
        array = self._submit_command(self._submitit_command_str)
        tasks = list(range(array.num_tasks))
        jobs = [submitit.SlurmJob(self.folder, f"{array.job_id}_{index}", tasks) for index in range(num_jobs)]
        for job, path in zip(jobs, pickles, strict=True):
            job.paths.move_temporary_file(path, "submitted_pickle")
        return jobs

    def _submit_command(self, command: str) -> submitit.Job[Any]:
        try:
            return super()._submit_command(command)
        except FailedJobError as error:
            is_uncertain = _UNCERTAIN.search(str(error)) is not None
            job = self._find_queued(_SEARCH_S if is_uncertain else 0)
            if job is not None:
                return submitit.SlurmJob(self.folder, job, list(range(self._num_tasks())))
            if is_uncertain:
                raise UncertainError(str(error)) from error
            raise

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        """As in submitit, which takes the first "job NUMBER" of the output."""
        output = string if isinstance(string, str) else string.decode(errors="replace")
        submitted = _SUBMITTED.search(output)
        if submitted is None:
            raise FailedJobError(f"sbatch printed no id of a job: {output}")
        return submitted.group(1)

    def _find_queued(self, timeout_s: float) -> str | None:
        job: str | None = None

        def is_found() -> bool:
            nonlocal job
            try:
                job = job_states.find_queued(self.parameters["job_name"], self.folder, self._known)
            except client.SlurmError:
                return False
            return job is not None

        wait_until(is_found, timeout_s, _POLL_S)
        return job
