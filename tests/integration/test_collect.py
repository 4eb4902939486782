"""What a sweep wrote, in one folder: every MIDI file, an index, and a report that a browser opens from the disk."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from music21.midi import MidiFile

from jobs import collect, decode
from jobs.cluster.own_job import OwnJob
from jobs.records import attempts
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.config import SamplingConfig
from tests.support.made_sweep import CONSTANT_LOSS, draw, made_sweep

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NUM_SAMPLES, STEPS = 8, 512
HOSTILE_NAME = "0003-<img src=x onerror=\"document.title='harmed'\">'&amp;{{7*7}}"
HOSTILE_PRIMER = "/music/</script></style><script>document.title='harmed'</script>\"'<b>.mid"
HOSTILE_ERROR = "<script>document.title='harmed'</script> & \"more\""


class Sweep:
    """Twenty made runs, decoded and collected: one failed, one waits, one has a hostile name and more samples."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "runs" / "a <b>sweep"
        self.out.parent.mkdir()
        self.runs = made_sweep(self.out, NUM_SAMPLES, STEPS)
        failed, waiting = self.runs[7], self.runs[19]
        (failed.path / "result.json").unlink()
        attempts.begin_attempt(failed, OwnJob(), "")
        attempts.end_attempt(failed, error=HOSTILE_ERROR)
        for name in ("result.json", "metrics.csv", "samples.h5"):
            (waiting.path / name).unlink()
        self.runs[3] = Run(self.runs[3].path.rename(self.out / HOSTILE_NAME))
        more = SamplingConfig(num=2, steps=200, seed=4, temperature=0.6, primer=HOSTILE_PRIMER)
        draw(self.runs[3], more, 9_000, "samples-seed4.h5")
        archived = {str(self.runs[5].path): str(self.runs[5].path / "midi")}
        decode.decode_job(str(self.runs[5].path), archived, archive=True)
        others = [run for run in self.runs if run not in (waiting, self.runs[5])]
        for run in others:
            decode.decode_job(str(run.path), {str(run.path): str(run.path / "midi")})
        self.collected = folder / "collected"
        assert command.run(collect.main, [str(self.out), "--out", str(self.collected)]) == 0
        self.num_midi = 19 * NUM_SAMPLES + 2


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(tmp_path_factory.mktemp("collect"))


@pytest.fixture
def page(sweep: Sweep, browser: "Browser") -> "Iterator[Page]":
    """The report in a browser, where nothing may be complained of or asked from a network."""
    complaints, requests = [], []
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    address = (sweep.collected / "report.html").as_uri()
    page.goto(address)
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [address]
    page.close()


def column(page: "Page", title: str) -> list[str]:
    """What stands in a column, from top to bottom."""
    number = page.locator("thead th").all_inner_texts().index(title)
    return page.locator(f"tbody tr > :nth-child({number + 1})").all_inner_texts()


def test_every_midi_file_is_there_and_in_the_index(sweep: Sweep) -> None:
    with (sweep.collected / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sweep.num_midi
    assert {row["run"] for row in rows} == {run.name for run in sweep.runs} - {sweep.runs[19].name}
    for row in rows:
        midi = MidiFile()
        midi.readstr((sweep.collected / row["file"]).read_bytes())
        assert len(midi.tracks) == 1
    primed = [row for row in rows if row["seed"] == "4"]
    assert [(row["run"], row["index"], row["primer"], row["temperature"]) for row in primed] == [
        (HOSTILE_NAME, str(index), HOSTILE_PRIMER, "0.6") for index in range(2)
    ]
    assert sum(path.is_file() for path in sweep.collected.rglob("*")) == sweep.num_midi + 2
    from_archive = sweep.collected / sweep.runs[5].name
    assert sorted(path.name for path in from_archive.iterdir()) == [f"samples-{index:04d}.mid" for index in range(NUM_SAMPLES)]


def test_report_is_small_and_needs_nothing_else(sweep: Sweep) -> None:
    report = (sweep.collected / "report.html").read_bytes()
    assert len(report) < 10_000_000
    assert report.count(b"data:image/png;base64,") == sweep.num_midi
    assert b"http:" not in report
    assert b"https:" not in report


def test_hostile_names_are_text(page: "Page") -> None:
    text = page.locator("body").inner_text()
    assert HOSTILE_NAME in text
    assert HOSTILE_PRIMER in text
    assert HOSTILE_ERROR in text
    assert page.title() == page.locator("h1").inner_text() == "a <b>sweep"
    assert page.locator("script").count() == 1
    assert page.locator("body b").all_inner_texts() == page.locator(".facts b").all_inner_texts()
    assert page.locator("img[onerror]").count() == 0


def test_report_is_complete(sweep: Sweep, page: "Page") -> None:
    assert page.locator("tbody tr").count() == len(sweep.runs)
    titles = page.locator("thead th").all_inner_texts()
    assert titles == [
        *("run", "state", "model", "batch", "learning rate", "parameters", "epoch", "loss", "validation loss"),
        *("best constant", "nats/step", "onset F1", "collapsed"),
    ]
    states = column(page, "state")
    assert (states.count("done"), states[7], states[19]) == (18, "failed", "waiting")
    assert set(column(page, "best constant")) == {f"{CONSTANT_LOSS:.5f}", ""}
    assert page.locator(".chart").count() == 2
    assert page.locator(".chart").first.locator(".plane g").count() == 19
    assert page.locator(".sample img").count() == sweep.num_midi
    assert page.locator(".sample img").evaluate_all("images => images.every(image => image.complete && image.naturalWidth)")
    collapses = page.locator(".sample strong").all_inner_texts()
    assert collapses.count("silence") == collapses.count("every_step") == 20
    for number in (0, 3, 5):
        link = page.locator(f"#run-{number} .sample a").last.get_attribute("href") or ""
        assert (sweep.collected / unquote(link)).is_file()
        assert page.locator(f"#run-{number} .sample a").last.evaluate("link => link.href").startswith(sweep.collected.as_uri())


def test_table_is_sorted_by_click_and_by_key(page: "Page") -> None:
    number_of_loss = page.locator("thead button", has_text="validation loss")
    losses = [float(text) for text in column(page, "validation loss") if text]
    assert losses != sorted(losses)
    number_of_loss.click()
    assert [float(text) for text in column(page, "validation loss")[:-1]] == sorted(losses)
    assert column(page, "validation loss")[-1] == ""
    assert page.locator("[aria-sort=ascending]").all_inner_texts() == ["validation loss"]
    number_of_loss.focus()
    page.keyboard.press("Enter")
    assert [float(text) for text in column(page, "validation loss")[:-1]] == sorted(losses, reverse=True)
    assert column(page, "validation loss")[-1] == ""
    assert page.locator("[aria-sort=descending]").all_inner_texts() == ["validation loss"]
    assert page.locator("[aria-sort=ascending]").count() == 0
    page.locator("thead button", has_text="parameters").press("Space")
    assert column(page, "parameters") == ["89,667"] * 9 + ["104,963"] * 9 + [""] * 2
    page.locator("thead button", has_text="run").click()
    assert [name[:4] for name in column(page, "run")] == [f"{number:04d}" for number in range(20)]


def test_run_in_focus_stands_out(page: "Page") -> None:
    shown = page.locator("g.on, tr.on, .legend a.on")
    assert shown.count() == 0
    page.locator(".legend a").first.focus()
    run = page.locator(".legend a").first.get_attribute("data-run")
    assert set(shown.evaluate_all("all => all.map(each => each.dataset.run)")) == {run}
    assert shown.count() == 1 + 2 + 2  # a row, two lines, and their names
    page.locator("tbody tr").nth(4).hover()
    assert set(shown.evaluate_all("all => all.map(each => each.dataset.run)")) == {"4"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_page_fits_its_window(page: "Page", width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    channels = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(channels) > 3 * 128) == (scheme == "light")


def test_what_is_not_decoded_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"device": "cpu", "grid": {"model.name": ["base", "gru"]}}
    runs = made_sweep(tmp_path / "sweep", 3, 40, epochs=1, values=values)
    arguments = [str(tmp_path / "sweep"), "--out", str(tmp_path / "out")]
    assert command.run(collect.main, arguments) == 2
    assert "no MIDI yet; decode it first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    outs = {str(run.path): str(run.path / "midi") for run in runs}
    decode.decode_job(str(runs[0].path), outs)
    os.remove(runs[0].path / "midi" / "samples-0001.mid")
    (runs[0].path / "midi" / "samples-0002.png").unlink()
    capsys.readouterr()
    assert command.run(collect.main, arguments) == 0
    said = capsys.readouterr().out
    assert "samples.h5: 1 of 3 samples are not decoded" in said
    assert "samples.h5: 3 of 3 samples are not decoded" in said
    assert "2 MIDI files of 2 runs" in said
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/png") == 1
    decode.decode_job(str(runs[1].path), outs, archive=True)
    archive = runs[1].path / "midi" / "samples.zip"
    archive.write_bytes(archive.read_bytes()[:-200])
    assert command.run(collect.main, arguments) == 1
    assert "samples.zip is damaged" in capsys.readouterr().err


def test_losses_that_are_no_numbers_are_shown_and_not_drawn(tmp_path: Path) -> None:
    values = {"device": "cpu", "runs": [{"model.name": "base"}, {"model.name": "split"}]}
    runs = made_sweep(tmp_path / "sweep", 1, 20, epochs=3, values=values)
    history = runs[0].path / "metrics.csv"
    lines = history.read_text().splitlines()
    history.write_text("\n".join([*lines[:2], "2,80,nan,inf", "3,120,nan,nan"]) + "\n")
    result = json.loads((runs[0].path / "result.json").read_text())
    (runs[0].path / "result.json").write_text(json.dumps(result | {"loss": float("nan"), "valid_loss": float("nan")}))
    for run in runs:
        decode.decode_job(str(run.path), {str(run.path): str(run.path / "midi")})
    assert command.run(collect.main, [str(tmp_path / "sweep"), "--out", str(tmp_path / "out")]) == 0
    report = (tmp_path / "out" / "report.html").read_text()
    assert ">nan</td>" in report
    paths = [line for line in report.splitlines() if 'class="near"' in line]
    assert len(paths) == 4
    assert "nan" not in "".join(paths)
    assert "inf" not in "".join(paths)
    # Squared errors and cross-entropies have no best.
    assert report.count("the best of all runs") == 2
