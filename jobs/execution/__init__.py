"""The submission of jobs, and the work of a job."""
