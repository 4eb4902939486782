"""Words in a score: jumps, other words, and returns to a place that has no sign."""

import pytest

from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.jumps import jumps_of_words


@pytest.mark.parametrize(
    ("words", "jump"),
    [
        ("D.C.", "dacapo"),
        ("D. C. al Fine.", "dacapo alfine"),
        ("D.C.\nal Fine", "dacapo alfine"),
        ("D.C. (al Fine)", "dacapo alfine"),
        ("Da Capo", "dacapo"),
        ("D.C.alfine", "dacapo alfine"),
        ("DC al Coda", "dacapo alcoda"),
        ("Da Capo ma senza replicarlo", "dacapo"),
        ("D.S. al Coda", "dalsegno alcoda"),
        ("D.S. 𝄋 al Coda 𝄌", "dalsegno alcoda"),
        ("Dal Segno", "dalsegno"),
        ("To Coda", "tocoda"),
        ("To Coda 𝄌", "tocoda"),
        ("To ⊕", "tocoda"),
        ("\ue048 Coda", "coda"),
        ("𝄋", "segno"),
        ("dacoda", "tocoda"),
        ("Coda", "coda"),
        ("FINE", "fine"),
        ("Fine.", "fine"),
        ("Finale", None),
        ("codas", None),
        ("dìs- xe «ed ha", None),
        ("gli DC", None),
        ("D", None),
        ("dolce, c. 60", None),
    ],
)
def test_words_of_a_jump(words: str, jump: str | None) -> None:
    assert list(jumps_of_words(words)) == ([] if jump is None else jump.split())


@pytest.mark.parametrize("words", ["Menuetto D.C.", "M.D.C.", "Men. D.C.", "Menuetto da Capo", "ed allora dal segno"])
def test_return_to_a_place_that_only_words_name_is_refused(words: str) -> None:
    with pytest.raises(ScoreError, match="return to a place that has no sign"):
        jumps_of_words(words)
