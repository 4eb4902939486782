"""Corpora of real files that lie beside some checkouts; the tests that need the files are skipped elsewhere."""

import pytest

from tests.support.paths import ROOT

CORPORA = ROOT.parent / "shared" / "corpora"
PIANO_MIDI_DE = CORPORA / "piano_midi_de" / "midis"
BAD_INPUTS = CORPORA / "bad_inputs"
CASES_MIDI = CORPORA / "cases_midi"

needs_corpora = pytest.mark.skipif(not CORPORA.is_dir(), reason=f"{CORPORA} does not exist; it has the real MIDI files")
