"""The files of a sweep's directory, and the status they imply."""
