"""Trackers: programs that show the progress of trainings, such as TensorBoard and Weights & Biases."""
