"""Held-out likelihood, trivial baselines, sample metrics and collapse."""
