"""Where the real files are, if this checkout has them; nothing but tests reads them."""

import pytest

from tests.support.paths import ROOT

CORPORA = ROOT.parent / "shared" / "corpora"
PIANO_MIDI_DE = CORPORA / "piano_midi_de" / "midis"
BAD_INPUTS = CORPORA / "bad_inputs"

needs_corpora = pytest.mark.skipif(not CORPORA.is_dir(), reason="the real files of ../shared/corpora are absent")
