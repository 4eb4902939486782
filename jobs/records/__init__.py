"""The files of a sweep's directory as typed records, and the status of its runs."""
