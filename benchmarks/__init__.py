"""Benchmarks: one command per claim about speed, memory or results; docs/benchmarks.md lists them."""
