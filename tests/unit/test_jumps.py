"""Words in a score: jumps, other words, and returns to a place that has no sign."""

import pytest

from pianogen.midi.scores.errors import ScoreError
from pianogen.midi.scores.jumps import ends_of_words, jumps_of_words


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
        ("Da Capo sin' al Fine", "dacapo alfine"),
        ("D.C. sino al Fine", "dacapo alfine"),
        ("D.C. to Fine", "dacapo alfine"),
        ("D.C. to the Fine", "dacapo alfine"),
        ("D.C. bis Fine", "dacapo alfine"),
        ("D.C. Fine", "dacapo alfine"),
        ("D.C., al Fine", "dacapo alfine"),
        ("D.C.-al Fine", "dacapo alfine"),
        ("D.C al Fine", "dacapo alfine"),
        ("Da-capo al Fine", "dacapo alfine"),
        ("D. Capo al Fine", "dacapo alfine"),
        ("D. segno al Fine", "dalsegno alfine"),
        ("DC & then go on", "dacapo"),
        ("da Segno al Fine", "dalsegno alfine"),
        ("Dal 𝄋 al Fine", "dalsegno alfine"),
        ("D.S. al 𝄌", "dalsegno alcoda"),
        ("D.C. al Fine: no repeats", "dacapo alfine"),
        ("Da Capo al Fine senza replica", "dacapo alfine"),
        ("Da Capo senza replica al Fine", "dacapo alfine"),
        ("D.C. al Fine e poi la Coda", "dacapo alfine alcoda"),
        ("D.S. al Coda, poi Fine", "dalsegno alcoda alfine"),
        ("D.C. e poi la Coda", "dacapo"),
        ("D.C. and then go on", "dacapo"),
        ("D/C al Fine", "dacapo alfine"),
        ("D/S al Coda", "dalsegno alcoda"),
        ("To Coda", "tocoda"),
        ("To Coda 𝄌", "tocoda"),
        ("To ⊕", "tocoda"),
        ("\ue048 Coda", "coda"),
        ("𝄋", "segno"),
        ("dacoda", "tocoda"),
        ("al Coda", "alcoda"),
        ("alla coda", "alcoda"),
        ("al Fine", "alfine"),
        ("Coda", "coda"),
        ("FINE", "fine"),
        ("Fine.", "fine"),
        ("Finale", None),
        ("codas", None),
        ("dìs- xe «ed ha", None),
        ("gli DC", None),
        ("D", None),
        ("dolce, c. 60", None),
        ("arr. D. S. Miller", None),
        ("Washington, D.C.", None),
        ("sempre più forte sin al fine", None),
    ],
)
def test_words_of_a_jump(words: str, jump: str | None) -> None:
    assert jumps_of_words(words) == ({} if jump is None else dict.fromkeys(jump.split(), ""))


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        ("D.C. al Fine", ["alfine"]),
        ("Menuetto D.C. al Fine", ["alfine"]),
        ("al Coda", ["alcoda"]),
        ("Menuetto D.C.", []),
        ("", []),
    ],
)
def test_ends_of_a_return_that_is_not_in_words(words: str, ends: list[str]) -> None:
    assert list(ends_of_words(words)) == ends


@pytest.mark.parametrize(
    "words",
    [
        "Menuetto D.C.",
        "M.D.C.",
        "Men. D.C.",
        "Menuetto da Capo",
        "ed allora dal segno",
        "Scherzo D. C.",
        "Fine, D.C.",
        "poi D.S.",
        "D.D.S.",
        "Dal doppio Segno",
    ],
)
def test_return_to_a_place_that_only_words_name_is_refused(words: str) -> None:
    with pytest.raises(ScoreError, match="return to a place that has no sign"):
        jumps_of_words(words)


@pytest.mark.parametrize(
    "words",
    [
        "D.C. al Segno",
        "D.C. sin al 𝄋 e poi la Coda",
        "D.S. al Segno",
        "D.C. senza replica al Segno",
        "D.C. dal segno",
        "D.C. al 1",
        "D.C. Evans",
        "D.C. E. Evans",
        "D.S. Miller",
        "D.C. Albert",
        "D.S.S. al Fine",
        "DC 3d. Measure",
        "Da Capo il Maggiore",
    ],
)
def test_return_with_words_that_are_not_understood_is_refused(words: str) -> None:
    with pytest.raises(ScoreError, match=r"start with D\.C\. or D\.S\., and the rest is not understood"):
        jumps_of_words(words)
