"""Benchmarks: every command compares this code with other implementations on the same inputs in one run."""
