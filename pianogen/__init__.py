"""Piano rolls from MIDI, recurrent networks that learn them, and MIDI from what they write."""

__version__ = "0.1.0"
