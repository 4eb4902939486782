"""jobs.collect: the MIDI files of a sweep and their index, and the report in a browser, opened from disk."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import pytest
from music21.midi import MidiFile

from jobs import collect, decode
from jobs import sweep as status_command
from jobs.cluster.own_job import OwnJob
from jobs.records import attempts
from jobs.records.run_directory import Run
from pianogen import command
from pianogen.config import SamplingConfig
from pianogen.evaluation.memorization import Memorization, Passage
from pianogen.evaluation.metrics import METRICS
from pianogen.roll_text import encode_roll
from tests.support.made_music import made_roll
from tests.support.made_sweep import CONSTANT_LOSS, HOSTILE_PIECE, made_sweep, write_made_samples
from tests.support.report_page import opened_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NUM_SAMPLES, STEPS = 8, 512
GONE_STORE = 11  # the run whose store is gone
GONE_NAME = "gone <b>" + 100 * "0" + ".h5"
HOSTILE_NAME = "0003-<img src=x onerror=\"document.title='harmed'\">'&amp;{{7*7}}"
HOSTILE_PRIMER = "/music/</script></style><script>document.title='harmed'</script>\"'<b>.mid"
HOSTILE_ERROR = "<script>document.title='harmed'</script> & \"more\""


def decode_run(run: Run, archive: bool = False) -> None:
    decode.decode_job(str(run.path), {str(run.path): str(run.path / "midi")}, archive)


class Sweep:
    """Twenty generated runs, decoded and collected: one failed, one is waiting, one has a hostile name and a second store."""

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
        waiting.write_provenance(replace(waiting.read_provenance(), attempts=[]))
        self.runs[3] = Run(self.runs[3].path.rename(self.out / HOSTILE_NAME))
        more = SamplingConfig(num=2, steps=200, seed=4, temperature=0.6, primer=HOSTILE_PRIMER)
        write_made_samples(self.runs[3], more, 9_000, "samples-seed4.h5")
        for run in self.runs:
            if run is not waiting:
                decode_run(run, archive=run is self.runs[5])
        provenance = self.runs[GONE_STORE].read_provenance()
        moved = replace(provenance.store, path=f"{folder}/{GONE_NAME}")
        self.runs[GONE_STORE].write_provenance(replace(provenance, store=moved))
        self.collected = folder / "collected"
        assert command.run(collect.main, [str(self.out), "--out", str(self.collected)]) == 0
        self.num_midi = 19 * NUM_SAMPLES + 2
        self.num_excerpts = 5  # of 9 held-out pieces


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(tmp_path_factory.mktemp("collect"))


@pytest.fixture
def page(sweep: Sweep, browser: "Browser") -> "Iterator[Page]":
    """The report in a browser, with unfolded sections."""
    with opened_report(browser, sweep.collected / "report.html") as page:
        page.get_by_role("button", name="Unfold all").click()
        yield page


def column(page: "Page", title: str) -> list[str]:
    """The texts of a column, from top to bottom."""
    number = page.locator(".runs thead th").all_inner_texts().index(title)
    return page.locator(f".runs tbody tr > :nth-child({number + 1})").all_inner_texts()


def test_every_midi_file_is_copied_and_in_the_index(sweep: Sweep) -> None:
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
    assert sum(path.is_file() for path in sweep.collected.rglob("*")) == sweep.num_midi + 3
    from_archive = sweep.collected / sweep.runs[5].name
    assert sorted(path.name for path in from_archive.iterdir()) == [f"samples-{index:04d}.mid" for index in range(NUM_SAMPLES)]


def test_report_is_small_and_has_no_external_resources(sweep: Sweep) -> None:
    report = (sweep.collected / "report.html").read_bytes()
    assert len(report) < 1_100_000
    assert report.count(b'data-roll="') == sweep.num_midi + sweep.num_excerpts
    assert b"data:" not in report
    assert b"http:" not in report
    assert b"https:" not in report


def test_hostile_names_are_shown_as_text(page: "Page") -> None:
    text = page.locator("body").inner_text()
    assert HOSTILE_NAME in text
    assert HOSTILE_PRIMER in text
    assert HOSTILE_ERROR in text
    assert page.title() == page.locator("h1").inner_text() == "a <b>sweep"
    assert page.locator("script").count() == 1
    assert page.locator("body b").all_inner_texts() == page.locator(".facts b").all_inner_texts()
    assert page.locator("img").count() == 0


def test_report_shows_every_run_chart_and_sample(sweep: Sweep, page: "Page") -> None:
    assert page.locator(".runs tbody tr").count() == len(sweep.runs)
    titles = page.locator(".runs thead th").all_inner_texts()
    assert titles == [
        *("run", "state", "parameters", "epoch", "loss", "valid loss", "constant predictor"),
        *("valid nats per step", "valid onset F1", "collapsed", "unlike corpus", "minutes", "CPU minutes", "iterations/s"),
        *("model", "batch", "learning rate", "devices"),
    ]
    states = column(page, "state")
    assert (states.count("done"), states[7], states[19]) == (18, "failed", "waiting")
    assert set(column(page, "constant predictor")) == {f"{CONSTANT_LOSS:.5f}", ""}
    assert page.locator(".chart").count() == 2
    assert page.locator(".chart").first.locator(".plot-area path").count() == 19
    assert page.locator(".track").count() == sweep.num_midi + sweep.num_excerpts
    collapses = page.locator(".track strong").all_inner_texts()
    assert collapses.count("silence") == collapses.count("every_step") == 20
    definitions = page.locator(".track strong").evaluate_all("all => all.map(element => element.ariaDescription)")
    assert set(definitions) == {
        "collapsed: in the second half of the sample, no key sounds at 95 % of the steps or more",
        "collapsed: in the second half of the sample, at least 95 % of the steps have onsets, and at least 90 % of all onsets "
        "are on 8 keys or there are at least 6 onsets per step",
    }
    assert page.get_by_text("no decoded samples").evaluate_all("all => all.map(text => text.closest('.run').id)") == ["run-19"]
    for number in (0, 3, 5):
        link = page.locator(f"#run-{number} .track a").last.get_attribute("href") or ""
        assert (sweep.collected / unquote(link)).is_file()
        assert page.locator(f"#run-{number} .track a").last.evaluate("link => link.href").startswith(sweep.collected.as_uri())


def test_figures_stand_beside_those_of_trivial_predictors(sweep: Sweep, page: "Page") -> None:
    networks = [result.held_out["valid"]["network"] for run in sweep.runs if (result := run.read_result())]
    num_unbeaten = sum(network["nats_per_step"] >= 9 for network in networks)
    num_unbeaten += sum(network["static_threshold"]["onset_f1"] <= 0.2 for network in networks)
    assert 0 < num_unbeaten < 2 * len(networks)
    assert page.get_by_text("! not better than a trivial predictor in the last rows").is_visible()
    marks = page.locator("tbody .unbeaten")
    assert marks.count() == page.locator(".facts .unbeaten").count() == num_unbeaten
    assert all("not better than per-key Markov chain (" in (mark.get_attribute("aria-description") or "") for mark in marks.all())
    assert page.locator("tfoot th").all_inner_texts() == ["per-key Markov chain", "marginals", "repeat of the last step"]
    titles = page.locator(".runs thead th").all_inner_texts()
    markov = dict(zip(titles, page.locator("tfoot tr").first.locator("th, td").all_inner_texts(), strict=True))
    figures = {title: text for title, text in markov.items() if text}
    assert figures == {"run": "per-key Markov chain", "valid nats per step": "9.000", "valid onset F1": "0.200"}
    facts = page.locator(".facts").first.inner_text()
    assert "(per-key Markov chain 9.000, marginals 10.000)" in facts
    assert "(per-key Markov chain 0.200, marginals 0.150, repeat of the last step 0.050)" in facts


def test_status_shows_trivial_predictors_and_marks_unbeaten_models(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(status_command.main, ["status", str(sweep.out)]) == 0
    rows = {cells[0]: cells for line in capsys.readouterr().out.splitlines() if (cells := re.split(" {2,}", line.strip()))}
    assert rows["per-key Markov chain"][1:] == ["9", "0.2"]
    assert rows["repeat of the last step"][1:] == ["0.05"]
    assert "! not better than a trivial predictor in the last rows" in rows
    for run in sweep.runs:
        if run.name in rows and (result := run.read_result()):
            network = result.held_out["valid"]["network"]
            nats, onset_f1 = network["nats_per_step"], network["static_threshold"]["onset_f1"]
            assert rows[run.name][-2:] == [
                f"{nats:.4g}" + (" !" if nats >= 9 else ""),
                f"{onset_f1:.4g}" + (" !" if onset_f1 <= 0.2 else ""),
            ]
    with (sweep.out / "runs.csv").open() as file:
        for row in csv.DictReader(file):
            if row["state"] == "done":
                assert (row["valid_markov_nats_per_step"], row["valid_repeat_onset_f1"]) == ("9.0", "0.05")
                nats = float(row["valid_nats_per_step"])
                assert row["valid_nats_per_step_unbeaten"] == ("markov marginal" if nats >= 10 else "markov" if nats >= 9 else "")


def test_table_is_sorted_by_click_and_by_keyboard(page: "Page") -> None:
    loss_header = page.locator("thead button", has_text="valid loss")
    losses = [float(text) for text in column(page, "valid loss") if text]
    assert losses != sorted(losses)
    loss_header.click()
    assert [float(text) for text in column(page, "valid loss")[:-1]] == sorted(losses)
    assert column(page, "valid loss")[-1] == ""
    assert page.locator("[aria-sort=ascending]").all_inner_texts() == ["valid loss"]
    loss_header.focus()
    page.keyboard.press("Enter")
    assert [float(text) for text in column(page, "valid loss")[:-1]] == sorted(losses, reverse=True)
    assert column(page, "valid loss")[-1] == ""
    assert page.locator("[aria-sort=descending]").all_inner_texts() == ["valid loss"]
    assert page.locator("[aria-sort=ascending]").count() == 0
    page.locator("thead button", has_text="parameters").press("Space")
    assert column(page, "parameters") == ["89,667"] * 9 + ["104,963"] * 9 + [""] * 2
    page.locator("thead button", has_text="run").click()
    assert [name[:4] for name in column(page, "run")] == [f"{number:04d}" for number in range(20)]


def test_run_in_focus_or_under_the_pointer_is_highlighted(page: "Page") -> None:
    highlighted = page.locator(".plot-area path.active, tr.active, .legend li.active")
    assert highlighted.count() == 0
    page.locator(".legend a").first.focus()
    run = page.locator(".legend li").first.get_attribute("data-run")
    assert set(highlighted.evaluate_all("all => all.map(element => element.dataset.run)")) == {run}
    assert highlighted.count() == 1 + 3 + 2  # a row, three lines, and two entries of legends
    page.locator(".runs tbody tr").nth(4).hover()
    assert set(highlighted.evaluate_all("all => all.map(element => element.dataset.run)")) == {"4"}


def test_metrics_of_samples_stand_beside_those_of_the_corpus(page: "Page") -> None:
    metrics = page.locator("#run-0 .metrics")
    verdict = metrics.locator("summary").inner_text()
    assert verdict.startswith("Outside the spread of the corpus in ")
    assert column(page, "unlike corpus")[0] == verdict.split()[7]
    assert metrics.locator("svg").count() == 0
    metrics.locator("summary").click()
    rows = metrics.locator("tbody tr")
    assert rows.count() == len(METRICS) - 1
    metrics.locator("svg").last.wait_for()
    assert metrics.locator("svg").count() == len(METRICS) - 1
    outside = metrics.locator("tr.outside th").all_inner_texts()
    names, undetermined = verdict.split(": ", 1)[1].split("; ")
    assert ", ".join(title.split(",")[0].partition(" (")[0] for title in outside) == names
    assert undetermined == "not determined: self-similarity at 8 bars."  # the excerpts have seven bars
    pitch = rows.nth(3)
    assert pitch.locator("th").inner_text() == "pitch, semitones (7 of 8 samples)"  # the first one is silent
    samples, train, valid, test, overlap, real_overlap, min_overlap, distance, real_distance, max_distance = map(
        float, pitch.locator("td:not([data-samples])").all_inner_texts()
    )
    assert 60 < min(samples, train, valid, test) < max(samples, train, valid, test) < 72
    assert 0 < min_overlap < real_overlap < 1
    assert 0 < real_distance < max_distance
    by_overlap, by_distance = overlap < min_overlap, distance > max_distance
    assert pitch.locator("td.outside").count() == by_overlap + by_distance
    assert (pitch.get_attribute("class") == "outside") == (by_overlap or by_distance)
    # Bars are as wide as the plot, and the highest one as high.
    box = pitch.locator("path.samples").evaluate("path => { const box = path.getBBox(); return [box.width, box.height]; }")
    held_out = pitch.locator("path.held-out").evaluate("path => path.getBBox().height")
    assert box[0] == len(pitch.locator("td").first.get_attribute("data-samples") or "")
    assert max(box[1], held_out) == 63


def test_excerpts_of_held_out_pieces_are_marked_and_played(sweep: Sweep, page: "Page") -> None:
    corpus = page.locator("#corpus-0")
    assert corpus.locator("h2").inner_text().startswith("a <b>sweep.h5 corpus")
    tracks = corpus.locator(".track")
    assert tracks.count() == corpus.locator(".corpus-mark").count() == sweep.num_excerpts
    name = tracks.first.get_attribute("aria-label") or ""
    assert name.startswith("corpus 1: ")
    assert name.partition(", ")[0].endswith(HOSTILE_PIECE)
    assert page.locator("#corpus-1").count() == 0  # samples of 512 and of 200 steps share the excerpts
    tracks.first.get_by_role("button").click()
    assert page.get_by_role("status").inner_text() == f"Playing {name}"


def test_report_says_why_samples_are_not_compared(page: "Page") -> None:
    note = page.locator(f"#run-{GONE_STORE} .muted", has_text="Not compared with a corpus")
    assert f"{GONE_NAME} does not exist" in note.inner_text()
    assert page.locator(".muted", has_text="Not compared with a corpus").count() == 1
    assert column(page, "unlike corpus")[GONE_STORE] == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400, 2000])
def test_page_fits_its_viewport(page: "Page", width: int, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    channels = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(channels) > 3 * 128) == (scheme == "light")


def test_samples_that_are_not_decoded_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"device": "cpu", "grid": {"model.name": ["base", "gru"]}}
    runs = made_sweep(tmp_path / "sweep", 3, 40, epochs=1, values=values)
    arguments = [str(tmp_path / "sweep"), "--out", str(tmp_path / "out")]
    assert command.run(collect.main, arguments) == 2
    assert "has no MIDI files; decode its samples first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    decode_run(runs[0])
    (runs[0].path / "midi" / "samples-0001.mid").unlink()
    capsys.readouterr()
    assert command.run(collect.main, arguments) == 0
    output = capsys.readouterr()
    assert "samples.h5: 1 of 3 samples are not decoded" in output.err
    assert "samples.h5: 3 of 3 samples are not decoded" in output.err
    assert "2 MIDI files of 2 runs" in output.out
    assert (tmp_path / "out" / "report.html").read_text().count('data-roll="') == 2 + 5
    decode_run(runs[1], archive=True)
    archive = runs[1].path / "midi" / "samples.zip"
    archive.write_bytes(archive.read_bytes()[:-200])
    assert command.run(collect.main, arguments) == 1
    assert "samples.zip is damaged" in capsys.readouterr().err


def test_collected_folder_follows_its_sweep_and_keeps_files_of_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"device": "cpu", "grid": {"model.name": ["base", "gru"]}}
    runs, out = made_sweep(tmp_path / "sweep", 2, 40, epochs=1, values=values), tmp_path / "out"
    for run in runs:
        decode_run(run)
    arguments = [str(tmp_path / "sweep"), "--out", str(out)]
    out.mkdir()
    (out / "index.csv").write_text("mine")
    assert command.run(collect.main, arguments) == 2
    assert f"{out} exists and was not written by this program" in capsys.readouterr().err
    assert [path.read_text() for path in out.iterdir()] == ["mine"]
    (out / "index.csv").unlink()
    assert command.run(collect.main, arguments) == 0
    (out / "0001-gru" / "notes.txt").write_text("mine")
    shutil.rmtree(runs[1].path)
    write_made_samples(runs[0], SamplingConfig(num=2, steps=40), 77)  # drawn again, and not decoded yet
    write_made_samples(runs[0], SamplingConfig(num=1, steps=40, seed=4), 78, "samples-seed4.h5")
    assert command.run(collect.main, arguments) == 2
    decode_run(runs[0])
    assert command.run(collect.main, arguments) == 0
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    midi = {f"0000-base/samples-{name}.mid" for name in ("0000", "0001", "seed4-0000")}
    assert files == midi | {"0001-gru/notes.txt", "index.csv", "report.html", ".pianogen.json"}
    assert command.run(collect.main, [str(tmp_path / "sweep"), "--out", str(tmp_path / "sweep")]) == 2


def test_nan_and_infinite_losses_are_in_the_table_and_not_in_the_charts(tmp_path: Path) -> None:
    values = {"device": "cpu", "runs": [{"model.name": "base"}, {"model.name": "split"}]}
    runs = made_sweep(tmp_path / "sweep", 1, 20, epochs=3, values=values)
    history = runs[0].path / "metrics.csv"
    lines = history.read_text().splitlines()
    history.write_text("\n".join([*lines[:2], "2,80,nan,inf", "3,120,nan,nan"]) + "\n")
    result = json.loads((runs[0].path / "result.json").read_text())
    (runs[0].path / "result.json").write_text(json.dumps(result | {"loss": float("nan"), "valid_loss": float("nan")}))
    for run in runs:
        decode_run(run)
    assert command.run(collect.main, [str(tmp_path / "sweep"), "--out", str(tmp_path / "out")]) == 0
    report = (tmp_path / "out" / "report.html").read_text()
    assert ">nan</td>" in report
    paths = [line for line in report.splitlines() if line.startswith("<path data-run")]
    assert len(paths) == 4 + 2  # of two charts, and of the parallel coordinates
    assert "nan" not in "".join(paths)
    assert "inf" not in "".join(paths)
    # The best nats per step and onset F1; mean squared errors and cross-entropies are not comparable.
    assert report.count('aria-description="best of all') == 2


def test_samples_that_were_replaced_are_not_shown_with_the_passages_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = made_sweep(tmp_path / "sweep", 4, 150, epochs=1, values={"device": "cpu"})
    result = run.read_result()
    assert result is not None
    run.write_result(replace(result, memorization=Memorization([None], "test", [8])))
    assert command.run(collect.main, [str(tmp_path / "sweep"), "--out", str(tmp_path / "out")]) == 2
    assert "samples.h5 has 4 samples, and the record of their passages 1: another program replaced it" in capsys.readouterr().err


def test_passages_of_the_train_split_are_beside_the_samples_without_the_store(tmp_path: Path, browser: "Browser") -> None:
    (run,) = made_sweep(tmp_path / "sweep", 4, 150, epochs=1, values={"device": "cpu"})
    result = run.read_result()
    assert result is not None
    roll = encode_roll(made_roll(7, 40))
    long = Passage(120, 20, 2, "B/<b>.mid", 37, 3, -5, "3/2", roll)
    short = Passage(9, 0, 1, "A/000.mid", 64, 5, 0, "1", roll)
    run.write_result(replace(result, memorization=Memorization([None, short, long, short], "test", [8, 12])))
    decode_run(run)
    (tmp_path / "sweep.h5").unlink()
    assert command.run(collect.main, [str(tmp_path / "sweep"), "--out", str(tmp_path / "out")]) == 0
    with opened_report(browser, tmp_path / "out" / "report.html") as page:
        assert (column(page, "longest passage"), column(page, "held-out passage")) == (["9"], ["10"])
        assert page.get_by_text("median 9 onsets, maximum 120 (4 samples)").count() == 1
        assert page.get_by_text("excerpts of the test split: median 10 onsets, maximum 12 (2 excerpts)").count() == 1
        passages = page.locator("details.passage")
        assert passages.locator("summary").all_inner_texts() == [
            "Training piece: bar 5 of A/000.mid; the sample is not transposed",
            "Training piece: bar 3 of B/<b>.mid; the sample is 5 semitones lower, with note values times 3/2",
            "Training piece: bar 5 of A/000.mid; the sample is not transposed",
        ]
        assert page.get_by_text("120 onsets from bar 2 on also occur in the train split").count() == 1
        assert page.locator(".track strong", has_text="long passage").count() == 1
        passages.nth(1).locator("summary").click()
        passages.nth(1).get_by_role("button", name="Play the training passage").click()
        assert page.evaluate("player.track.roll.notes.length") == made_roll(7, 40).num_notes
        page.get_by_role("button", name="Play all", exact=True).click()
        played = page.evaluate("player.track.name")
        assert played.endswith("0001.mid")
