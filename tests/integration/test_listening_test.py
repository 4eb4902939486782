"""The listening test in a browser: its page, the answers that it saves, and their evaluation."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from jobs import collect, decode, listening_results
from jobs.listening.draw import draw
from jobs.listening.key import Mode
from pianogen import command
from pianogen.config import SamplingConfig
from pianogen.roll_text import encode_roll
from pianogen.sampling.sample_store import Sample, SampleSource, write_samples
from pianogen.store import Split, Store
from tests.support.made_music import made_roll, store_of
from tests.support.made_sweep import made_sweep
from tests.support.report_page import opened_report
from tests.support.runs import create_runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NUM, STEPS = 9, 100
SPLITS = (Split.TRAIN, Split.TEST, Split.TEST, Split.TRAIN, Split.TEST, Split.TEST, Split.TEST, Split.VALID)


class Collected:
    """Two runs of four samples, collected with a listening test."""

    def __init__(self, folder: Path) -> None:
        self.sweep, self.out = folder / "secret sweep", folder / "out"
        values = {"device": "cpu", "grid": {"model.name": ["base", "gru"]}}
        self.runs = made_sweep(self.sweep, 4, STEPS, epochs=1, values=values, splits=SPLITS)
        decode.decode_job(str(self.runs[0].path), {str(self.runs[0].path): str(self.runs[0].path / "midi")})
        self.page, self.key = self.out / "listening-test.html", self.out / "listening-test.key.json"
        assert self.collect("--listening-test", NUM) == 0
        self.content = json.loads(self.key.read_text())

    def collect(self, *options: object, out: Path | None = None) -> int:
        return command.run(collect.main, [str(self.sweep), "--out", str(out or self.out), *map(str, options)])


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    return Collected(tmp_path_factory.mktemp("listening"))


def test_half_of_the_excerpts_are_held_out_pieces_and_the_others_are_of_all_runs(collected: Collected) -> None:
    origins = list(collected.content["origins"].values())
    sources = [origin["source"] for origin in origins]
    assert {source: sources.count(source) for source in sources} == {
        "corpus": 5,
        collected.runs[0].name: 2,
        collected.runs[1].name: 2,
    }
    assert sources != sorted(sources, key=lambda source: source != "corpus")
    assert len({(origin["source"], origin["piece"]) for origin in origins}) == NUM
    with Store(collected.sweep.with_suffix(".h5")) as store:
        splits = dict(zip(store.pieces.name, store.pieces.split.tolist(), strict=True))
    assert {splits[origin["piece"]] for origin in origins if origin["source"] == "corpus"} == {Split.TEST}


def test_page_does_not_contain_what_the_key_contains(collected: Collected) -> None:
    html = collected.page.read_text()
    assert [item for item in collected.content["origins"] if f'data-item="{item}"' not in html] == []
    secrets = {"secret sweep", "corpus", "seed", "first_step"} | {run.name for run in collected.runs}
    secrets |= {origin["piece"] for origin in collected.content["origins"].values()}
    body = html.partition("<body")[2].partition("<script>")[0]
    assert {secret for secret in secrets if secret in body} == set()
    assert "http:" not in html
    assert "https:" not in html
    assert "data:" not in html


def test_draw_depends_on_the_seed_alone(collected: Collected, capsys: pytest.CaptureFixture[str]) -> None:
    page, key = collected.page.read_bytes(), collected.key.read_bytes()
    assert collected.collect("--listening-test", NUM) == 0
    assert collected.collect() == 0  # the report alone
    assert (collected.page.read_bytes(), collected.key.read_bytes()) == (page, key)
    # The key of the test that listeners may have is not replaced.
    assert collected.collect("--listening-test", NUM, "--listening-seed", 1) == 2
    assert "is the key of another listening test" in capsys.readouterr().err
    assert (collected.page.read_bytes(), collected.key.read_bytes()) == (page, key)
    other = draw(collected.runs, NUM, 1)
    assert other.key.test != collected.content["test"]


def answer(page: "Page", number: int, choice: str, rating: int) -> None:
    page.get_by_role("group", name=f"Excerpt {number} is").get_by_label(choice, exact=True).check()
    page.get_by_role("group", name=f"Rating of excerpt {number},").get_by_label(str(rating), exact=True).check()


def save(page: "Page", path: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save answers").click()
    download.value.save_as(path)
    return path


def test_answers_make_the_round_trip(
    collected: Collected, browser: "Browser", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = [origin["source"] == "corpus" for origin in collected.content["origins"].values()]
    paths = []
    for listener in range(2):
        with opened_report(browser, collected.page) as page:
            for number, is_real in enumerate(real, 1):
                answer(page, number, "real" if is_real else "generated", 5 - listener if is_real else 2)
            assert page.locator(".progress").inner_text() == f"{NUM} of {NUM} excerpts are answered."
            paths.append(save(page, tmp_path / f"{listener}.csv"))
    with paths[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["item"] for row in rows] == list(collected.content["origins"])
    assert {row["test"] for row in rows} == {collected.content["test"]}
    capsys.readouterr()
    assert command.run(listening_results.main, [*map(str, paths), "--key", str(collected.key)]) == 0
    lines = [line.split()[:9] for line in capsys.readouterr().out.splitlines()]
    assert ["corpus", "10", "10", "1.00", "0.72", "to", "1.00", "4.50", "0"] in lines
    assert [collected.runs[0].name, "0", "4", "0.00", "0.00", "to", "0.49", "2.00", "0"] in lines


def test_incomplete_answers_are_saved_after_a_warning(collected: Collected, browser: "Browser", tmp_path: Path) -> None:
    with opened_report(browser, collected.page) as page:
        for number in range(1, NUM):
            answer(page, number, "real", 3)
        page.get_by_role("group", name=f"Excerpt {NUM} is").get_by_label("generated").check()
        page.get_by_role("button", name="Save answers").click()
        assert page.locator(".progress").inner_text().startswith(f"Answers are missing for excerpt {NUM}.")
        assert page.locator(".missing h2").all_inner_texts() == [f"Excerpt {NUM}"]
        path = save(page, tmp_path / "incomplete.csv")
    with path.open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["answer"], last["rating"]) == ("generated", "")


NUM_PAIRS = 4


def test_pairs_make_the_round_trip(
    collected: Collected, browser: "Browser", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    assert collected.collect("--listening-test", NUM_PAIRS, "--listening-mode", "pairs", out=out) == 0
    assert f"4 pairs in {out / 'listening-test.html'}; give listeners this file" in capsys.readouterr().out
    key = json.loads((out / "listening-test.key.json").read_text())
    sources = [origin["source"] for origin in key["origins"].values()]
    pairs = list(zip(sources[::2], sources[1::2], strict=True))
    first, second = (run.name for run in collected.runs)
    assert sorted(map(sorted, pairs)) == [[first, "corpus"]] * 2 + [[second, "corpus"]] * 2
    assert {pair.index("corpus") for pair in pairs} == {0, 1}
    paths = []
    for listener in range(2):
        with opened_report(browser, out / "listening-test.html") as page:
            assert page.evaluate("new Set(tracks.map((track) => track.roll.numSteps)).size") == 1
            for number, pair in enumerate(pairs, 1):
                # The second listener takes the samples of the first run for real.
                chosen = pair.index("corpus") ^ (listener and first in pair)
                choices = page.get_by_role("group", name=f"Written by a person in pair {number}")
                choices.get_by_label(("the first", "the second")[chosen], exact=True).check()
                for name, source in zip(("first", "second"), pair, strict=True):
                    if number > 1:  # ratings are optional
                        ratings = page.get_by_role("group", name=f"Rating of pair {number}, {name}")
                        ratings.get_by_label("5" if source == "corpus" else "3", exact=True).check()
            assert page.locator(".progress").inner_text() == "4 of 4 pairs are answered."
            paths.append(save(page, tmp_path / f"{listener}.csv"))
    with paths[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["item"] for row in rows] == list(key["origins"])
    assert [row["rating"] for row in rows[:2]] == ["", ""]
    arguments = [*map(str, paths), "--key", str(out / "listening-test.key.json")]
    assert command.run(listening_results.main, arguments) == 0
    output = capsys.readouterr().out
    lines = [line.split() for line in output.splitlines()]
    # Wilson: 2 of 4 is 0.150 to 0.850, 0 of 4 is 0 to 0.490, 6 of 8 is 0.409 to 0.929.
    assert ["corpus", "6", "8", "0.75", "0.41", "to", "0.93", "5.00", "0"] in [line[:9] for line in lines]
    assert [first, "2", "4", "0.50", "0.15", "to", "0.85", "3.00", "0"] in [line[:9] for line in lines]
    assert [second, "0", "4", "0.00", "0.00", "to", "0.49", "3.00", "0"] in [line[:9] for line in lines]
    num_rated = {name: 2 * sum(name in pair for pair in pairs[1:]) for name in (first, second)}
    assert {(line[1], int(line[2])) for line in lines if line[:1] == ["corpus"] and "+2.00" in line} == set(num_rated.items())
    assert "chance is 0.50" in output
    # The answers are not those to the excerpts of the other test.
    assert command.run(listening_results.main, [str(paths[0]), "--key", str(collected.key)]) == 2
    assert "a test of single excerpts; give the key of that test" in capsys.readouterr().err


def test_page_is_usable_with_the_keyboard_and_shows_no_notes(collected: Collected, browser: "Browser") -> None:
    with opened_report(browser, collected.page) as page:
        page.get_by_role("button", name="Play excerpt 1").focus()
        focused = []
        for _ in range(4):
            focused.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.value"))
            page.keyboard.press("Tab")
        assert focused == ["Play excerpt 1", "Position in excerpt 1", "real", "1"]
        page.get_by_role("group", name="Rating of excerpt 2,").get_by_label("1", exact=True).focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert page.locator(".rating :checked").get_attribute("value") == "3"
        page.get_by_role("slider", name="Position in excerpt 1").press("Space")
        page.wait_for_function("() => player.position > 0.2")
        names = page.evaluate(
            """() => { const canvas = tracks[0].slider.querySelector("canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const hex = (i) => "#" + [...data.slice(i, i + 3)].map((value) => value.toString(16).padStart(2, "0")).join("");
            const drawn = new Set(Array.from({ length: data.length / 4 }, (_, pixel) => hex(4 * pixel)));
            return Object.entries(RollView.palette).filter(([_, color]) => drawn.has(color)).map(([name]) => name); }"""
        )
        assert set(names) <= {"background", "playhead"}
        assert "background" in names
        page.evaluate("isSaved = true")  # so that the page can be closed


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_its_viewport(collected: Collected, browser: "Browser", scheme: Literal["light", "dark"]) -> None:
    with opened_report(browser, collected.page) as page:
        page.emulate_media(color_scheme=scheme)
        for width in (400, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--listening-seed", 1], "--listening-seed applies only with --listening-test N"),
        (["--listening-mode", "pairs"], "--listening-mode applies only with --listening-test N"),
        (["--listening-test", 1, "--listening-mode", "pairs"], "a listening test of 1 pair is too small for 2 runs: give --l"),
        (["--listening-test", 6, "--listening-mode", "pairs"], "has 5 pieces in the test split, and the listening test needs 6"),
        (["--listening-runs", 0], "--listening-runs applies only with --listening-test N"),
        (["--listening-test", 2, "--listening-runs", 7], "--listening-runs 7: "),
        (["--listening-test", 3], "is too small for 2 runs: give --listening-test 4 or more"),
        (["--listening-test", 10, "--listening-runs", 1], "samples.h5 has 4 samples, and the listening test needs 5"),
        (["--listening-test", 12], "has 5 pieces in the test split, and the listening test needs 6"),
        (["--listening-test", 0], "'0' is not a positive integer"),
    ],
)
def test_impossible_tests_are_refused(
    collected: Collected, capsys: pytest.CaptureFixture[str], options: list[object], message: str
) -> None:
    before = collected.key.read_bytes()
    assert collected.collect(*options) == 2
    assert message in capsys.readouterr().err
    assert collected.key.read_bytes() == before


@pytest.mark.parametrize("mode", Mode)
def test_excerpts_are_equally_long_and_of_the_groups_of_the_run(tmp_path: Path, mode: Mode) -> None:
    values = {"device": "cpu", "grid": {"data.groups": [["A"], ["B"], []]}}
    # The pieces have 120 steps. The test split has the groups B, A, A, B and A.
    runs = made_sweep(tmp_path / "sweep", 1, 150, epochs=1, values=values, splits=SPLITS)
    test = draw(runs, 3 if mode is Mode.PAIRS else 6, 0, mode)
    assert {roll[:2] for roll in test.rolls.values()} == {encode_roll(made_roll(0, 120))[:2]}
    origins = list(test.key.origins.values())
    pieces = [origin.piece for origin in origins if origin.source == "corpus"]
    assert len(set(pieces)) == 3
    assert {piece[0] for piece in pieces} == {"A", "B"}
    for first, second in test.key.pairs:
        piece, sample = sorted((test.key.origins[first], test.key.origins[second]), key=lambda origin: origin.source != "corpus")
        groups = next(run.read_config().data.groups for run in runs if run.name == sample.source)
        assert not groups or piece.piece[0] in groups


def test_excerpts_are_64_quarter_notes_long_at_any_resolution(tmp_path: Path) -> None:
    rolls = [replace(made_roll(seed, 800), steps_per_quarter=12) for seed in range(3)]
    corpus = store_of(tmp_path / "corpus.h5", rolls, [Split.TRAIN, Split.TEST, Split.TEST])
    (run,) = create_runs(tmp_path / "sweep", corpus, {"device": "cpu"})
    write_samples(run.path / "samples.h5", [Sample(rolls[0])], SamplingConfig(num=1), SampleSource(run.name, "ckpt"))
    test = draw([run], 2, 0)
    assert {text[:2] for text in test.rolls.values()} == {encode_roll(rolls[0].rows(0, 64 * 12))[:2]}


def test_test_without_the_store_or_the_samples_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = made_sweep(tmp_path / "sweep", 2, 40, epochs=1, values={"device": "cpu"}, splits=SPLITS)
    decode.decode_job(str(run.path), {str(run.path): str(run.path / "midi")})
    arguments = [str(tmp_path / "sweep"), "--out", str(tmp_path / "out"), "--listening-test", "2"]
    store = (tmp_path / "sweep.h5").rename(tmp_path / "moved.h5")
    assert command.run(collect.main, arguments) == 2
    assert "sweep.h5 does not exist" in capsys.readouterr().err
    store.rename(tmp_path / "sweep.h5")
    (run.path / "samples.h5").unlink()
    assert command.run(collect.main, arguments) == 2
    assert "has no samples because it is not done" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
