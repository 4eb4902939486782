"""Scores to events: parsers of MusicXML, Humdrum **kern and ABC, one order of bars for all parts, ties and grace notes."""
