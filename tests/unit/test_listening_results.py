"""The statistics of a listening test, and the answers that are refused."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from jobs import listening_results
from jobs.listening import results
from jobs.listening.answers import Answer, read_answers
from jobs.listening.key import CORPUS, Key, Mode, Origin
from pianogen import command
from pianogen.errors import UsageError

HEADER = "test,listener,item,answer,rating"
GRU, BASE = "0001-[red]gru</b>", "0000-base"
KEY = Key(
    "test-1",
    0,
    {
        "aa": Origin(CORPUS, "A/<b>.mid", 3),
        "bb": Origin(GRU, "0001", 0),
        "cc": Origin(CORPUS, "B.mid", 0),
        "dd": Origin(BASE, "0003", 17),
    },
)


def write(path: Path, rows: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_share_has_the_interval_of_wilson() -> None:
    z = stats.norm.ppf(0.975)
    for successes, trials in [(8, 10), (0, 10), (10, 10), (13, 40)]:
        share, weight = successes / trials, z**2 / trials
        center = (share + weight / 2) / (1 + weight)
        half = z / (1 + weight) * np.sqrt(share * (1 - share) / trials + weight / (4 * trials))
        assert results.wilson_interval(successes, trials) == pytest.approx((center - half, center + half), abs=1e-9)
    assert results.wilson_interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def exact_p(differences: Sequence[float]) -> float:
    """The share of the signs for which the rank sum is at least as far from its mean."""
    ranks = stats.rankdata(np.abs(differences))
    sums = [
        sum(rank * sign for rank, sign in zip(ranks, signs, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(ranks))
    ]
    observed = sum(ranks * np.sign(differences))
    return float(np.mean(np.abs(sums) >= abs(observed) - 1e-9))


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3, 4, 5, 6], 2 / 64),
        ([1, 2, 3, 4, 5, -6], 28 / 64),
        ([0.5, 0.5, 0.5, 0.5, -0.5, 1, 0, 0], None),
        ([1, 1, 1, 1, 1, 1, 1, -2, 0], None),
    ],
)
def test_signed_rank_test_is_exact_with_ties_and_zeros(differences: list[float], p: float | None) -> None:
    others = [difference for difference in differences if difference]
    assert results.signed_rank_p(np.array(differences)) == pytest.approx(exact_p(others))
    if p is not None:
        assert exact_p(others) == p
        assert stats.wilcoxon(others, method="exact").pvalue == pytest.approx(p)


def test_signed_rank_test_of_many_listeners_is_that_of_scipy() -> None:
    differences = np.random.default_rng(0).permutation(np.arange(1, 31) * np.resize([1, 1, -1], 30)).astype(float)
    p = results.signed_rank_p(differences)
    assert p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, abs=0.015)
    assert results.signed_rank_p(differences) == p


def test_five_differences_are_too_few() -> None:
    assert results.signed_rank_p(np.array([1, 2, 3, 4, 5, 0, 0])) is None


def test_p_values_are_corrected_by_the_method_of_holm() -> None:
    assert results.correct([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert results.correct([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert results.correct([]) == []


def made_answers(num_listeners: int) -> list[Answer]:
    """Everybody takes the corpus for real and rates it 4 and 5; the runs get 1 and, by half of the listeners, 4."""
    ratings = {"aa": 4, "cc": 5, "bb": 1}
    return [
        Answer(f"listener-{number:02}", item, item in ("aa", "cc"), ratings.get(item, 4 if number % 2 else 1))
        for number in range(num_listeners)
        for item in KEY.origins
    ]


def test_results_of_made_answers() -> None:
    corpus, base, gru = results.shares(made_answers(8), KEY)
    assert (corpus.source, corpus.answers, corpus.real, corpus.mean_rating, corpus.missing) == (CORPUS, 16, 16, 4.5, 0)
    assert (base.source, base.answers, base.real, base.mean_rating, base.has_enough) == (BASE, 8, 0, 2.5, False)
    assert gru.source == GRU
    assert gru.high == pytest.approx(results.wilson_interval(0, 8)[1])
    assert results.shares(made_answers(20), KEY)[1].has_enough
    with_base, with_gru, runs = results.compare(made_answers(8), KEY)
    assert (with_base.one, with_base.other, with_base.differences, with_base.median) == (CORPUS, BASE, 8, 2.0)
    assert with_gru.median == 3.5
    # The corpus is better for all 8 listeners: 2 of 256 signs. Two comparisons are tested, so p is doubled.
    assert [with_base.p, with_gru.p] == pytest.approx([4 / 256, 4 / 256])
    assert (runs.differing, runs.p) == (4, None)


def test_missing_answers_are_not_counted_as_generated() -> None:
    answers = [
        Answer("a", "aa", True, None),
        Answer("a", "cc", None, 3),
        Answer("a", "bb", None, None),
        Answer("a", "dd", None, None),
    ]
    corpus, base, _ = results.shares(answers, KEY)
    assert (corpus.answers, corpus.real, corpus.mean_rating, corpus.missing) == (1, 1, 3, 2)
    assert (base.answers, base.low, base.mean_rating, base.missing) == (0, None, None, 1)
    assert [row.differences for row in results.compare(answers, KEY)] == [0, 0, 0]


# Three pairs of the corpus and a run, and one of the corpus and another run.
PAIRS = Key(
    "pairs-test-2",
    0,
    {
        "aa": Origin(CORPUS, "A.mid", 3),
        "bb": Origin(GRU, "0001", 0),
        "cc": Origin(GRU, "0003", 1),
        "dd": Origin(CORPUS, "B.mid", 0),
        "ee": Origin(GRU, "0000", 0),
        "ff": Origin(CORPUS, "C.mid", 0),
        "gg": Origin(CORPUS, "D.mid", 7),
        "hh": Origin(BASE, "0000", 0),
    },
    Mode.PAIRS,
)


def made_pair_answers() -> list[Answer]:
    """Two listeners; the first one takes the samples of the second and fourth pair for real, and does not rate the last pair."""
    real = {"ann": {"aa", "cc", "ff", "hh"}, "bob": {"aa", "dd", "ff", "gg"}}
    ratings = {
        "ann": {"aa": 5, "bb": 1, "cc": 4, "dd": 3, "ee": 2, "ff": 5},
        "bob": {"aa": 3, "bb": 1, "cc": 3, "dd": 4, "ee": 1, "ff": 5, "gg": 2, "hh": 5},
    }
    return [Answer(name, item, item in real[name], ratings[name].get(item)) for name in real for item in PAIRS.origins]


def test_results_of_pairs() -> None:
    corpus, base, gru = results.shares(made_pair_answers(), PAIRS)
    assert [(share.source, share.answers, share.real) for share in (corpus, base, gru)] == [
        (CORPUS, 8, 6),
        (BASE, 2, 1),
        (GRU, 6, 1),
    ]
    assert [share.missing for share in (corpus, base, gru)] == [0, 0, 0]  # a rating of a pair is optional
    assert (gru.low, gru.high) == pytest.approx((0.0300534, 0.5635028), abs=1e-6)
    assert gru.mean_rating == 2.0
    with_base, with_gru = results.compare(made_pair_answers(), PAIRS)
    assert (with_base.one, with_base.other, with_base.differences, with_base.median, with_base.p) == (CORPUS, BASE, 1, -3, None)
    # The corpus minus the run: 4, -1 and 3 by the first listener, 2, 1 and 4 by the second one.
    assert (with_gru.other, with_gru.differences, with_gru.differing, with_gru.median) == (GRU, 6, 6, 2.5)
    assert with_gru.p == pytest.approx(exact_p([4, -1, 3, 2, 1, 4]))
    # The ranks of both differences of 1 are 1.5, so the positive ranks add up to 19.5 of 21: 3 of 64 signs have a sum as large,
    # and 3 one as small.
    assert with_gru.p == 6 / 64


def test_answers_to_a_pair_are_real_and_generated_or_missing(tmp_path: Path) -> None:
    choice = {True: "real", False: "generated"}
    rows = [
        f"pairs-test-2,{row.listener},{row.item},{choice[bool(row.is_real)]},{row.rating or ''}" for row in made_pair_answers()
    ]
    assert read_answers([write(tmp_path / "a.csv", rows)], PAIRS) == made_pair_answers()
    unanswered = [f"pairs-test-2,ann,{item},," for item in PAIRS.origins]
    assert read_answers([write(tmp_path / "a.csv", unanswered)], PAIRS) == [
        Answer("ann", item, None, None) for item in PAIRS.origins
    ]
    for edited in ("pairs-test-2,ann,dd,real,3", "pairs-test-2,ann,dd,,3"):
        path = write(tmp_path / "a.csv", [edited if row.startswith("pairs-test-2,ann,dd") else row for row in rows])
        with pytest.raises(UsageError, match=r"a\.csv: ann answered real to cc and (real|nothing) to dd, expected real to one"):
            read_answers([path], PAIRS)


def test_answers_to_single_excerpts_and_to_pairs_are_not_mixed(tmp_path: Path) -> None:
    single, pairs = write(tmp_path / "single.csv", ROWS), write(tmp_path / "pairs.csv", ["pairs-test-2,ann,aa,real,4"])
    with pytest.raises(
        UsageError, match=r"pairs\.csv, line 2: .* 'pairs-test-2', but .* 'test-1', a test of single excerpts; give"
    ):
        read_answers([single, pairs], KEY)
    with pytest.raises(UsageError, match=r"single\.csv, line 2: .* 'test-1', but .* 'pairs-test-2', a test of pairs; give"):
        read_answers([pairs, single], PAIRS)


ROWS = ["test-1,ann,aa,real,4", "test-1,ann,bb,generated,2", "test-1,ann,cc,real,5", "test-1,ann,dd,,"]
ANSWERS = [
    Answer("ann", "aa", True, 4),
    Answer("ann", "bb", False, 2),
    Answer("ann", "cc", True, 5),
    Answer("ann", "dd", None, None),
]


def test_files_of_a_spreadsheet_are_read(tmp_path: Path) -> None:
    assert read_answers([write(tmp_path / "a.csv", ROWS)], KEY) == ANSWERS
    changed = [
        "rating;item;answer;listener;note;test",
        "4;aa;real;ann;x;test-1",
        ";;;;;",
        "5;cc;real;ann;;test-1",
        "2;bb;generated;ann;;test-1",
    ]
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(changed).encode())
    assert read_answers([tmp_path / "b.csv"], KEY) == ANSWERS  # the missing row is a missing answer
    (tmp_path / "again.csv").write_text((tmp_path / "a.csv").read_text())
    assert read_answers([tmp_path / name for name in ("a.csv", "again.csv", "a.csv")], KEY) == ANSWERS


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["test-2,ann,aa,real,4"], "line 2: an answer of the test 'test-2', but the key is that of 'test-1'"),
        ([ROWS[0], "test-1,ann,zz,real,4"], "line 3: item 'zz', expected an item of the key"),
        (["test-1,ann,aa,maybe,4"], "answer 'maybe', expected one of real, generated, or nothing"),
        (["test-1,ann,aa,real,6"], "rating '6', expected one of 1, 2, 3, 4, 5, or nothing"),
        (["test-1,ann,aa,real,4.5"], "rating '4.5'"),
        (["test-1,,aa,real,4"], "the listener is missing"),
        (["test-1,ann,aa"], None),
        ([ROWS[0], ROWS[0]], "line 3: a second answer of ann to aa"),
        ([f"test-1,ann,aa,real,{'4' * 200_000}"], "line 2: field larger than field limit"),
    ],
)
def test_edited_answers_are_refused(tmp_path: Path, rows: list[str], message: str | None) -> None:
    path = write(tmp_path / "a.csv", rows)
    if message is None:
        assert read_answers([path], KEY) == [Answer("ann", item, None, None) for item in KEY.origins]
        return
    with pytest.raises(UsageError) as caught:
        read_answers([path], KEY)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"test,listener,item,answer\n", b"\xff\xfe\x00", None])
def test_other_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.csv .*that the page of the listening test has saved"):
        read_answers([tmp_path / "a.csv"], KEY)


def test_two_different_answers_of_a_listener_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.csv", ROWS), write(tmp_path / "b.csv", ["test-1,ann,aa,real,5"])]
    with pytest.raises(UsageError, match=r"b\.csv, line 2: ann has another answer to aa in .*a\.csv"):
        read_answers(paths, KEY)


def test_command_prints_names_as_they_are_and_says_what_is_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key.json").write_bytes(KEY.to_json())
    assert Key.read(tmp_path / "key.json") == KEY
    choice = {True: "real", False: "generated", None: ""}
    rows = [f"test-1,{row.listener},{row.item},{choice[row.is_real]},{row.rating}" for row in made_answers(8)]
    path = write(tmp_path / "a.csv", rows)
    assert command.run(listening_results.main, [str(path), "--key", str(tmp_path / "key.json")]) == 0
    output = capsys.readouterr().out
    assert "4 excerpts, 8 listeners" in output
    lines = [line.split() for line in output.splitlines()]
    assert [
        CORPUS,
        "16",
        "16",
        "1.00",
        "0.81",
        "to",
        "1.00",
        "4.50",
        "0",
        "too",
        "few",
        "answers:",
        "16,",
        "20",
        "needed",
    ] in lines
    assert any(line[:2] == [GRU, "0"] for line in lines)
    assert [CORPUS, GRU, "8", "+3.50", "0.0156"] in lines
    assert "too few listeners with different ratings: 4, 6 needed" in output


def test_key_of_pairs_is_read_and_one_without_a_mode_has_single_excerpts(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(PAIRS.to_json())
    assert Key.read(path) == PAIRS
    content = json.loads(KEY.to_json())
    del content["mode"]
    path.write_text(json.dumps(content))
    assert Key.read(path) == KEY
    for items in (["aa", "dd"], ["aa", "bb", "dd"]):
        path.write_bytes(replace(PAIRS, origins={item: PAIRS.origins[item] for item in items}).to_json())
        with pytest.raises(UsageError, match="is not the key of a listening test"):
            Key.read(path)


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", '{"test": "test-1"}', '{"test": "t", "seed": 0, "origins": {"aa": {"source": "x"}}}'),
        '{"test": "t", "seed": 0, "origins": {"aa": {"source": null, "piece": "x", "first_step": 0}}}',
    ],
)
def test_command_refuses_other_keys_and_files_without_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "key.json").write_bytes(KEY.to_json())
    path = write(tmp_path / "a.csv", ["test-1,ann,aa,,"])
    assert command.run(listening_results.main, [str(path), "--key", str(tmp_path / "key.json")]) == 2
    assert "no answers" in capsys.readouterr().err
    (tmp_path / "key.json").write_text(content)
    assert command.run(listening_results.main, [str(path), "--key", str(tmp_path / "key.json")]) == 2
    assert "is not the key of a listening test" in capsys.readouterr().err
