"""The training loop, and its checkpoints, devices, workers and metrics history."""
