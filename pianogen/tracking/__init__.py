"""Trackers: programs that show the course of trainings, such as TensorBoard and Weights & Biases."""
