"""Samples of a trained network, and the decision rules that turn predictions into states."""
