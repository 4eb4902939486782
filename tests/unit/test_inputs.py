"""Columns of inputs give back every input, in order of name or of reading; names are found in any Unicode form."""

import unicodedata
from itertools import groupby
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.archives import Member
from preprocess.inputs import Input, Inputs
from preprocess.text_column import Names, TextColumn

exact = settings(derandomize=True, deadline=None, max_examples=100)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(0, (1 << 62) - 1)
members = st.builds(
    Member,
    st.sampled_from(["zip", "tar", "gzip", "bzip2", "xz", "zstd"]),
    numbers,
    numbers,
    st.integers(-4, 65_535),
    st.integers(0, (1 << 32) - 1),
)


@st.composite
def sources(draw: st.DrawFn) -> Input:
    name = draw(texts)
    path = draw(st.sampled_from(["corpus/", "", "/other/"])) + name if draw(st.booleans()) else draw(texts)
    member = draw(st.none() | members)
    return Input(name, path, draw(st.integers(-1, 1 << 62)), draw(st.integers(-(1 << 62), 1 << 62)), member)


@exact
@given(written=st.lists(sources(), max_size=12, unique_by=lambda source: source.name))
def test_columns_give_back_every_input_in_order_of_name(written: list[Input]) -> None:
    inputs = Inputs(written)
    expected = [source._replace(number=number) for number, source in enumerate(sorted(written, key=lambda source: source.name))]
    assert list(inputs) == expected
    assert inputs[2:5] == expected[2:5]
    assert list(inputs.names) == [source.name for source in expected]
    with pytest.raises(IndexError):
        inputs[len(expected)]


@exact
@given(written=st.lists(sources(), max_size=12, unique_by=lambda source: source.name), data=st.data())
def test_reading_order_is_files_by_name_and_then_every_archive_by_position(written: list[Input], data: st.DataObject) -> None:
    inputs = Inputs(written)
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(written))) if written else st.nothing())))
    ordered = list(inputs.in_reading_order(np.array(chosen, np.int64)))
    assert sorted(source.number for source in ordered) == chosen
    files = [source for source in ordered if source.member is None]
    assert ordered[: len(files)] == files == sorted(files)
    archives = [path for path, _ in groupby(source.path for source in ordered[len(files) :])]
    assert len(archives) == len(set(archives))
    for path in archives:
        offsets = [source.member.offset for source in ordered if source.member is not None and source.path == path]
        assert offsets == sorted(offsets)


@exact
@given(written=st.lists(texts, max_size=10))
def test_text_column_is_a_list_of_texts(written: list[str]) -> None:
    column = TextColumn(written[:3])
    for text in written[3:]:
        column.append(text)
    assert list(column) == written
    assert column[1:4] == written[1:4]


@exact
@given(written=st.lists(texts, max_size=10), form=st.sampled_from(["NFC", "NFD"]))
def test_names_are_found_in_any_unicode_form(written: list[str], form: Literal["NFC", "NFD"]) -> None:
    by_form = {unicodedata.normalize("NFC", name): name for name in written}
    names = Names(sorted(by_form.values()))
    for name in by_form.values():
        number = names.find(unicodedata.normalize(form, name))
        assert number is not None
        assert names[number] == name
    assert names.find("a name that is longer than the others") is None
    assert names.first_repeated() is None


@pytest.mark.parametrize(
    ("written", "repeated"),
    [
        (["a", "b", "b", "c"], (1, 2)),
        (["e\u0301", "x", "\u00e9"], (0, 2)),
        (["K", "x", "\u212a"], (0, 2)),
        (["\u00e9", "\u1e9b\u0323", "\u1e9b\u0323 x"], None),
        (["\u03a9\u0301", "\u1ffb"], (0, 1)),
    ],
)
def test_equal_names_are_found(written: list[str], repeated: tuple[int, int] | None) -> None:
    assert Names(written).first_repeated() == repeated
