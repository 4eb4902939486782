"""MIDI files and scores to rolls, and rolls to MIDI files."""
