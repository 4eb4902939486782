"""Parsers of scores in MusicXML, Humdrum **kern and ABC, and one order of bars for all parts."""
