"""Held-out likelihood, trivial predictors, sample metrics, collapse, memorization, and the comparison with real music."""
