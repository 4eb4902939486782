"""Starting jobs, and what a job does."""
