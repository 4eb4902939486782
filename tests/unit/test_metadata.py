"""The file of --metadata: recognized columns, the files of MAESTRO and ASAP, and errors that name line and value."""

import csv
import hashlib
import os
import unicodedata
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest

from pianogen.errors import UsageError
from pianogen.store import Split
from preprocess.metadata import NO_GROUP, Columns, Metadata, Target, parse_columns, read_metadata
from preprocess.text_column import Names

MAESTRO = """canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration
Alban Berg,Sonata Op. 1,train,2018,2018/Chamber3_10_R3.midi,2018/Chamber3_10_R3.wav,698.661160312
Frédéric Chopin,"Ballade No. 1, Op. 23",validation,2004,2004/SMF_17_R1.midi,2004/SMF_17_R1.wav,500.5
Johann Sebastian Bach / Egon Petri,Sheep,test,2009,2009/07_R1_Track04.midi,2009/07_R1_Track04.wav,281.1
"""
ASAP = """composer,title,folder,xml_score,midi_score,midi_performance,performance_annotations,midi_score_annotations,\
maestro_midi_performance,maestro_audio_performance,start,end,audio_performance
Bach,Fugue_bwv_846,Bach/F,Bach/F/xml_score.musicxml,Bach/F/midi_score.mid,Bach/F/Shi05M.mid,Bach/F/Shi05M_annotations.txt,\
Bach/F/midi_score_annotations.txt,{maestro}/2006/19_R1.midi,{maestro}/2006/19_R1.wav,144.5,,Bach/F/Shi05M.wav
Bach,Fugue_bwv_846,Bach/F,Bach/F/xml_score.musicxml,Bach/F/midi_score.mid,Bach/F/Lan01M.mid,Bach/F/Lan01M_annotations.txt,\
Bach/F/midi_score_annotations.txt,,,,19.4,
Liszt,Sonata,Liszt/S,Liszt/S/xml_score.musicxml,Liszt/S/midi_score.mid,Liszt/S/Huang.mid,,,,,,,
"""


def read(folder: Path, text: str | bytes, names: Sequence[str], columns: Columns | None = None) -> Metadata:
    path = folder / "meta.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_metadata(path, columns or {}, Names(sorted(names)))


def assigned(metadata: Metadata, names: Sequence[str]) -> dict[str, tuple[str | None, Split]]:
    """The group and the split of each name."""
    return {
        name: (None if group == NO_GROUP else metadata.groups[group], Split(split))
        for name, group, split in zip(sorted(names), metadata.group.tolist(), metadata.split.tolist(), strict=True)
    }


@pytest.mark.parametrize("folder", ["", "maestro-v3.0.0/"], ids=["root", "folder_of_an_archive"])
def test_file_of_maestro_is_read_as_it_is(tmp_path: Path, folder: str) -> None:
    names = [folder + name for name in ("2004/SMF_17_R1.midi", "2009/07_R1_Track04.midi", "2018/Chamber3_10_R3.midi", "x.mid")]
    metadata = read(tmp_path, MAESTRO, names)
    assert metadata.has_splits
    assert list(assigned(metadata, names).values()) == [
        ("Frédéric Chopin", Split.VALID),
        ("Johann Sebastian Bach / Egon Petri", Split.TEST),
        ("Alban Berg", Split.TRAIN),
        (None, Split.NONE),
    ]


@pytest.mark.parametrize("folder", ["", "asap-dataset-master/"], ids=["root", "folder_of_an_archive"])
@pytest.mark.parametrize("part", ["all", "performances", "scores"])
def test_file_of_asap_is_read_as_it_is(tmp_path: Path, folder: str, part: str) -> None:
    """The rows of ASAP also name files that are not inputs, and repeat the score; some corpora have only the performances."""
    performances = ["Bach/F/Shi05M.mid", "Bach/F/Lan01M.mid", "Liszt/S/Huang.mid"]
    scores = ["Bach/F/xml_score.musicxml", "Bach/F/midi_score.mid", "Liszt/S/xml_score.musicxml", "Liszt/S/midi_score.mid"]
    parts = {"all": performances + scores, "performances": performances, "scores": scores}
    names = [folder + name for name in [*parts[part], "other.mid"]]
    metadata = read(tmp_path, ASAP, names)
    assert not metadata.has_splits
    expected = {name: ("Bach" if "Bach" in name else "Liszt", Split.NONE) for name in names} | {
        f"{folder}other.mid": (None, Split.NONE)
    }
    assert assigned(metadata, names) == expected


def test_columns_of_other_names_are_given(tmp_path: Path) -> None:
    text = "id,file,artist,subset,split\n1,a.mid,Anna,dev,x\n2,b.mid,,Train,y\n"
    columns = parse_columns("name=file,group=artist,split=subset")
    assert assigned(read(tmp_path, text, ["a.mid", "b.mid"], columns), ["a.mid", "b.mid"]) == {
        "a.mid": ("Anna", Split.VALID),
        "b.mid": ("", Split.TRAIN),
    }


def test_several_columns_of_names_are_given(tmp_path: Path) -> None:
    columns = parse_columns("name=left,name=right")
    metadata = read(tmp_path, "left,right,group\na.mid,b.mid,duet\n", ["a.mid", "b.mid"], columns)
    assert assigned(metadata, ["a.mid", "b.mid"]) == dict.fromkeys(["a.mid", "b.mid"], ("duet", Split.NONE))


@pytest.mark.parametrize("text", ["", "name", "name=", "title=x", "name=a,", "group=a,group=b", "split=a,split=b"])
def test_other_text_gives_no_columns(text: str) -> None:
    with pytest.raises(ValueError, match="is not name=COLUMN"):
        parse_columns(text)


def test_tunes_have_priority_over_their_input(tmp_path: Path) -> None:
    metadata = read(tmp_path, "name,split\na.abc,train\na.abc#12,test\n", ["a.abc", "b.mid"])
    assert metadata.split.tolist() == [Split.TRAIN, Split.NONE]
    assert metadata.tunes == {Target(0, 12): (NO_GROUP, Split.TEST)}


def test_byte_order_mark_and_special_characters_are_read(tmp_path: Path) -> None:
    names = ['"quoted", with commas.mid', "two\nlines.mid", "caf\\xe9.mid", "größe.mid", "x#y.mid"]
    with (tmp_path / "meta.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("name", "split"), *((name, "test") for name in names)])
    metadata = read_metadata(tmp_path / "meta.csv", {}, Names(sorted(names)))
    assert metadata.split.tolist() == [Split.TEST] * 5


def test_commas_behind_the_last_value_do_not_matter(tmp_path: Path) -> None:
    assert read(tmp_path, "name,split,\na.mid,test,,\n", ["a.mid"]).split.tolist() == [Split.TEST]


def test_rows_of_empty_values_do_not_matter(tmp_path: Path) -> None:
    assert read(tmp_path, "name,group,split\na.mid,x,test\n,,\n,,,\n", ["a.mid"]).split.tolist() == [Split.TEST]


@pytest.mark.parametrize("folder", ["", "corpus/"], ids=["root", "folder_of_an_archive"])
def test_names_may_have_the_form_of_windows_or_begin_with_a_dot(tmp_path: Path, folder: str) -> None:
    names = [folder + name for name in ("back\\\\slash.mid", "x/a.mid", "x/b.mid", "x/c.abc")]
    listed = ("x\\a.mid", "./x/b.mid", ".\\x\\c.abc#2", "back\\\\slash.mid")
    metadata = read(tmp_path, "name,split\n" + "".join(f"{name},test\n" for name in listed), names)
    assert metadata.split.tolist() == [Split.TEST, Split.TEST, Split.TEST, Split.NONE]
    assert metadata.tunes == {Target(3, 2): (NO_GROUP, Split.TEST)}


@pytest.mark.parametrize("listed", list(permutations(["z.mid", "1.mid", "c.abc#2"])))
def test_names_are_below_the_only_folder_that_has_all_of_them_in_any_order(tmp_path: Path, listed: Sequence[str]) -> None:
    names = ["x/1.mid", "x/c.abc", "x/z.mid", "y/1.mid", "y/z.mid", "z/c.abc"]
    metadata = read(tmp_path, "name,split\n" + "".join(f"{name},test\n" for name in listed), names)
    assert metadata.split.tolist() == [Split.TEST, Split.NONE, Split.TEST, Split.NONE, Split.NONE, Split.NONE]
    assert metadata.tunes == {Target(1, 2): (NO_GROUP, Split.TEST)}


def test_file_may_be_a_pipe() -> None:
    text = b"name,split\na.mid,test\n"
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    metadata = read_metadata(Path(f"/dev/fd/{reading}"), {}, Names(["a.mid"]))
    os.close(reading)
    assert metadata.split.tolist() == [Split.TEST]
    assert metadata.sha256 == hashlib.sha256(text).hexdigest()


def test_names_are_compared_in_nfc(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Dvořák.mid") for form in ("NFC", "NFD"))
    for name, listed in ((composed, decomposed), (decomposed, composed)):
        for folder in ("", "Ä/"):
            assert read(tmp_path, f"name,split\n{listed},test\n", [folder + name]).split.tolist() == [Split.TEST]


def test_groups_that_differ_in_their_unicode_form_are_one_group(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Dvořák") for form in ("NFC", "NFD"))
    for first, second in ((composed, decomposed), (decomposed, composed)):
        metadata = read(tmp_path, f"name,group\na.mid,{first}\nb.mid,{second}\na.mid,{second}\n", ["a.mid", "b.mid"])
        assert (metadata.groups, metadata.group.tolist()) == ([first], [0, 0])


@pytest.mark.parametrize(
    "text",
    [
        "Name,Group,Split\na.mid,A,train\nb.mid,B,test\n",
        "NAME,GROUP,SPLIT\na.mid,A,TRAIN\nb.mid,B,Test\n",
        "name, group, split\na.mid, A, train\nb.mid, B, test\n",
        "name , group , split \na.mid , A , train \nb.mid\t,B ,test\t\n , , \n",
        ' "name", "group", "split"\n "a.mid", "A", "train"\n"b.mid", "B",test, \n',
        "MIDI_Filename,Canonical_Composer,split\na.mid,A,train\nb.mid,B,test\n",
    ],
)
def test_spaces_around_values_and_capitals_in_recognized_columns_do_not_matter(tmp_path: Path, text: str) -> None:
    names = ["a.mid", "b.mid"]
    assert assigned(read(tmp_path, text, names), names) == {"a.mid": ("A", Split.TRAIN), "b.mid": ("B", Split.TEST)}


def test_quoted_comma_behind_a_space_separates_no_columns(tmp_path: Path) -> None:
    assert read(tmp_path, 'name, composer\na.mid, "Bach, J. S."\n', ["a.mid"]).groups == ["Bach, J. S."]


def test_spaces_around_a_name_belong_to_it_if_an_input_has_them(tmp_path: Path) -> None:
    names = [" a.mid", "a.mid", "b.mid", "c.mid "]
    metadata = read(tmp_path, "split,name\ntrain, a.mid\ntest,a.mid\nvalid, b.mid \ntrain,c.mid \n", names)
    assert metadata.split.tolist() == [Split.TRAIN, Split.TEST, Split.VALID, Split.TRAIN]


def test_given_columns_have_spaces_around_them_but_no_other_capitals(tmp_path: Path) -> None:
    text = "Name, name ,artist\nx,a.mid,Anna\n"
    metadata = read(tmp_path, text, ["a.mid"], parse_columns("name=name,group=artist"))
    assert metadata.groups == ["Anna"]
    with pytest.raises(UsageError, match="has no column 'Artist'"):
        read(tmp_path, text, ["a.mid"], parse_columns("name=name,group=Artist"))


WRONG: dict[str, tuple[str | bytes, list[str]]] = {
    "unknown_name": ("name,split\na.mid,train\nsonata 1.mid,train\n", ["meta.csv:3", "'sonata 1.mid'", "'sonata_1.mid'"]),
    "unknown_first_name": ("name,split\nnone.mid,train\n", ["meta.csv:2", "'none.mid'"]),
    "name_in_two_folders": ("name,split\nz.mid,train\n", ["meta.csv:2", "'z.mid'"]),
    "name_outside_the_folder": ("name,split\n1.mid,train\nz.mid,train\n", ["meta.csv:3", "'z.mid'"]),
    "name_below_a_folder_before_one_below_the_root": ("name,split\n1.mid,train\na.mid,train\n", ["meta.csv:2", "'1.mid'"]),
    "name_below_a_folder_behind_one_below_the_root": ("name,split\na.mid,train\n1.mid,train\n", ["meta.csv:3", "'1.mid'"]),
    "no_name": ("split,name\ntrain\n", ["meta.csv:2", "the row has no name"]),
    "unknown_split": ("name,split\na.mid,training\n", ["meta.csv:2", "'training'", "train, valid, validation, dev, test"]),
    "no_split": ("name,split\na.mid\n", ["meta.csv:2", "expected train"]),
    "number_for_a_split": ("name,split\na.mid,0\n", ["meta.csv:2", "'0'"]),
    "two_splits": ("name,split\na.mid,train\na.mid,test\n", ["meta.csv:3", "a.mid appears twice"]),
    "two_groups": ("name,group\na.mid,x\na.mid,y\n", ["meta.csv:3", "a.mid appears twice"]),
    "group_and_no_group": ("name,group\na.mid,x\na.mid,\n", ["meta.csv:3", "a.mid appears twice"]),
    "no_group_and_group": ("name,group\na.mid,\na.mid,x\n", ["meta.csv:3", "a.mid appears twice"]),
    "two_splits_of_a_tune": ("name,split\na.abc#2,train\na.abc#2,test\n", ["meta.csv:3", "a.abc#2 appears twice"]),
    "other_columns": ("file,part\na.mid,train\n", ["meta.csv", "file, part", "--metadata-columns", "midi_filename"]),
    "only_names": ("name,title\na.mid,x\n", ["meta.csv", "one for group or split"]),
    "no_header": ("a.mid,train\n", ["meta.csv", "expected one for the name"]),
    "empty": ("", ["meta.csv is empty", "first line names the columns"]),
    "json": ('{"name": {"0": "a.mid", "1": "b.mid"}}', ["meta.csv is JSON, expected CSV; give the CSV file"]),
    "json_rows": ('[{"name": "a.mid", "split": "train"}]', ["meta.csv is JSON, expected CSV"]),
    "semicolons": ("name;split\na.mid;train\n", ["meta.csv separates columns with ';', expected a comma"]),
    "tabs": ("name\tsplit\na.mid\ttrain\n", ["meta.csv separates columns with '\\t', expected a comma"]),
    "unquoted_comma": ("name,composer\na.mid,Bach, J. S.\n", ["meta.csv:2: more values than the 2 columns", "quote a value"]),
    "quote_that_is_not_doubled": (
        'name,group\na.mid,x\na.abc,"J\\"J"\n',
        ["meta.csv:3: ',' expected after '\"'; correct the row"],
    ),
    "quote_that_does_not_end": ('name,group\na.mid,x\na.abc,"x\n', ["meta.csv:3: unexpected end of data; correct the row"]),
    "repeated_column": ("name,split,split\na.mid,train,test\n", ["meta.csv has several columns 'split'"]),
    "columns_that_differ_in_capitals": (
        "name,Name,split\na.mid,b.mid,test\n",
        ["meta.csv has several columns 'name' and 'Name'; rename all but one of them, or give --metadata-columns"],
    ),
    "columns_that_differ_in_spaces": ("name,split, split\na.mid,train,test\n", ["meta.csv has several columns 'split'"]),
    "not_text": (b"name,split\n\xff\xfe.mid,train\n", ["meta.csv", "UTF-8"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_error_names_line_and_value(tmp_path: Path, wrong: str) -> None:
    text, parts = WRONG[wrong]
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text, ["a.abc", "a.mid", "f/1.mid", "sonata_1.mid", "x/z.mid", "y/z.mid"])
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_nearest_name_is_in_the_folder_of_the_other_names(tmp_path: Path) -> None:
    names = [f"{folder}/{number:04}.mid" for folder in "fy" for number in range(1_000)]
    with pytest.raises(UsageError, match=r"meta\.csv:3: .* the nearest name is 'y/0995\.mid'"):
        read(tmp_path, "name,group\nonly.mid,x\n0995x.mid,x\n", [*names, "y/only.mid"])


def test_given_column_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no column 'file'; its columns are name, group"):
        read(tmp_path, "name,group\na.mid,x\n", ["a.mid"], parse_columns("name=file"))


@pytest.mark.parametrize("place", ["none.csv", "."], ids=["missing", "folder"])
def test_unreadable_file_is_an_error(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_metadata(tmp_path / place, {}, Names(["a.mid"]))
