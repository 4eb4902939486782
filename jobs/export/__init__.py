"""Conversion of the rolls in a store to MIDI files and plots."""
