"""Piano rolls from MIDI, recurrent models trained on them, and MIDI from the models' samples."""

__version__ = "0.1.0"
