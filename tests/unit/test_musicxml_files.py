"""Compressed MusicXML, the names in it, and encodings."""

import unicodedata

import pytest

from tests.support.musicxml import C4, MEDIA_TYPE, container, note, part, score, shown, zipped


def test_container_names_the_score() -> None:
    other = score(part(note("D4")))
    names = container('full-path="other.xml" media-type="text/xml"', f'full-path="score.xml" {MEDIA_TYPE}')
    data = zipped(other_xml=other, score_xml=score(part(C4)), **{"META-INF__container_xml": names})
    assert shown(data, ".mxl") == "0:60+4"


@pytest.mark.parametrize(
    "root_files",
    [
        ['full-path="a__score.xml"'],
        ['full-path="./a__score.xml"'],
        ['full-path="a\\score.xml"'],
        ['full-path="score.pdf"', 'full-path="a__score.xml"'],
        ['full-path="b.xml"', 'full-path="a__score.xml" media-type="application/vnd.recordare.musicxml"'],
    ],
)
def test_container_names_the_score_in_the_forms_that_programs_write(root_files: list[str]) -> None:
    files: dict[str, str | bytes] = {"a__score_xml": score(part(C4)), "b_xml": score(part(note("D4"))), "score.pdf": "%PDF"}
    files["META-INF__container_xml"] = container(*(file.replace("__", "/") for file in root_files))
    assert shown(zipped(**files), ".mxl") == "0:60+4"


NFC, NFD = (unicodedata.normalize(form, "Für Elise.xml") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("has_other_score", [False, True])
@pytest.mark.parametrize(
    ("listed", "stored", "has_utf8_flag"),
    [
        (NFC, NFC.encode(), True),
        (NFC, NFC.encode(), False),
        (NFC, NFD.encode(), True),
        (NFD, NFC.encode(), False),
        (NFC, NFC.encode("cp437"), False),
        ("a/score.xml", b"a\\score.xml", False),
        ("a\\score.xml", b"./a/score.xml", False),
    ],
)
def test_names_of_container_and_members_are_compared_in_one_form(
    listed: str, stored: bytes, has_utf8_flag: bool, has_other_score: bool
) -> None:
    other = {"other_xml": score(part(note("D4")))} if has_other_score else {}
    data = with_name(stored, has_utf8_flag, **{"META-INF__container_xml": container(f'full-path="{listed}"')}, **other)
    assert shown(data, ".mxl") == "0:60+4"


def with_name(name: bytes, has_utf8_flag: bool, **members: str | bytes) -> bytes:
    """A compressed score with a member of this name, and other members."""
    placeholder = "é" * (len(name) // 2) + "x" * (len(name) % 2) if has_utf8_flag else "x" * len(name)
    data = zipped(**members, **{placeholder: score(part(C4))})
    assert data.count(placeholder.encode()) == 2
    return data.replace(placeholder.encode(), name)


@pytest.mark.parametrize("listed", ["Für Elise.xml", "score.xml"])
def test_only_score_is_read_if_the_container_names_no_member(listed: str) -> None:
    names = container(f'full-path="{listed}"')
    for has_utf8_flag in (False, True):
        data = with_name("Für Elis.xml".encode("latin-1"), has_utf8_flag, **{"META-INF__container_xml": names})
        assert shown(data, ".mxl") == "0:60+4"


def test_container_is_read_if_its_name_has_a_backslash() -> None:
    files = {"META-INF\\container_xml": container('full-path="b.xml"'), "a_xml": score(part(note("D4")))}
    assert shown(zipped(**files, b_xml=score(part(C4))), ".mxl") == "0:60+4"


def test_file_of_macos_beside_the_only_score_is_not_a_score() -> None:
    assert shown(zipped(score_xml=score(part(C4)), **{"._score_xml": bytes(9)}), ".mxl") == "0:60+4"


def test_empty_line_before_the_xml_declaration_does_not_matter() -> None:
    assert shown('\n<?xml version="1.0" encoding="UTF-8"?>' + score(part(C4))) == "0:60+4"


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16", "utf-16-be"),
        ("UTF-16", "utf-8"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "shift_jis"),
    ],
)
def test_encoding_is_that_of_the_bytes_or_the_declared_one(declared: str, encoding: str) -> None:
    title = "三味線" if declared == "Shift_JIS" else "Prélude"
    text = f'<?xml version="1.0" encoding="{declared}"?>' + score(part(C4)).replace(
        "><part", f"><movement-title>{title}</movement-title><part", 1
    )
    assert shown(text.encode(encoding)) == "0:60+4"
    assert shown(zipped(score_xml=text.encode(encoding)), ".mxl") == "0:60+4"
