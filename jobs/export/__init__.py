"""Rolls of a store as MIDI files and plots."""
