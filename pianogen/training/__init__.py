"""The training loop with its checkpoints, devices, workers and metrics history."""
