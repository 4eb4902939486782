"""The report of a sweep of many runs in a browser: filter, folding, columns, seeds, plots of the runs, tooltips."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs import collect, decode
from jobs.records.held_out import Measure
from jobs.records.run_directory import Run
from pianogen import command
from tests.support.made_sweep import made_sweep
from tests.support.report_page import opened_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

HOSTILE_PRIMER = "<img src=x onerror=\"document.title='harmed'\">.mid"
GRID = {"model.name": ["base", "gru"], "training.learning_rate": [0.0005, 0.002], "training.seed": [0, 1]}
NUM_RUNS = 16
WITHOUT_SAMPLES = 5


class Sweep:
    """Sixteen runs, all but one of which have two samples; the first one is silent."""

    def __init__(self, folder: Path) -> None:
        primer = folder / HOSTILE_PRIMER
        primer.touch()
        values = {"device": "cpu", "grid": GRID | {"sampling.primer": [None, str(primer)]}}
        self.runs: list[Run] = made_sweep(folder / "sweep", 2, 32, epochs=3, values=values)
        (self.runs[WITHOUT_SAMPLES].path / "samples.h5").unlink()
        for number, run in enumerate(self.runs):
            if number != WITHOUT_SAMPLES:
                decode.decode_job(str(run.path), {str(run.path): str(run.path / "midi")})
        self.report = folder / "out" / "report.html"
        assert command.run(collect.main, [str(folder / "sweep"), "--out", str(folder / "out")]) == 0

    @property
    def nats(self) -> dict[str, float]:
        """The likelihood of each run."""
        results = {str(number): run.read_result() for number, run in enumerate(self.runs)}
        return {number: result.held_out["valid"]["network"]["nats_per_step"] for number, result in results.items() if result}

    def matching(self, **settings: Any) -> set[str]:
        """The numbers of the runs with these settings, such as training__seed=1."""
        return {
            str(number)
            for number, run in enumerate(self.runs)
            if all(
                run.read_provenance().config[section][key] == value
                for name, value in settings.items()
                for section, key in [name.split("__")]
            )
        }


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(sweep: Sweep, browser: "Browser") -> "Iterator[Page]":
    with opened_report(browser, sweep.report) as page:
        yield page


def runs_of(locator: "Locator") -> set[str]:
    """The runs of the visible elements."""
    visible = "all => all.filter(element => element.checkVisibility()).map(element => element.dataset.run ?? element.id.slice(4))"
    return set(locator.evaluate_all(visible))


def apply_filter(page: "Page", text: str) -> set[str]:
    """The runs that the page shows with a filter, which must be the same everywhere."""
    page.get_by_role("searchbox", name="Filter").fill(text)
    shown = runs_of(page.locator(".runs tbody tr"))
    for selector in (".chart path[data-run]", ".parallel path", ".legend li", "section.run[id^=run]"):
        assert runs_of(page.locator(selector)) == shown
    return shown


def test_filter_applies_to_table_plots_and_sections(sweep: Sweep, page: "Page") -> None:
    count = page.locator("#filter-count")
    assert count.inner_text() == "16 runs, 30 samples"
    every, gru = sweep.matching(), sweep.matching(model__name="gru")
    assert apply_filter(page, "GRU") == gru
    assert count.inner_text() == "8 of 16 runs, 16 samples"
    slow = gru & sweep.matching(training__learning_rate=0.0005)
    assert apply_filter(page, "gru learning_rate<=1e-3") == slow
    assert apply_filter(page, "model=gru training.learning_rate!=0.002 seed=0") == slow & sweep.matching(training__seed=0)
    good = {number for number, nats in sweep.nats.items() if nats < 9}
    assert apply_filter(page, "valid_nats_per_step<9") == good
    assert apply_filter(page, "valid-nats-per-step<9 minutes>=75") == good
    assert (
        apply_filter(page, '"src=x onerror"') == apply_filter(page, "primer!=–") == every - sweep.matching(sampling__primer=None)
    )
    assert apply_filter(page, "batch=64") == apply_filter(page, "") == every
    assert apply_filter(page, "batch>64") == set()  # a setting that all runs share
    assert count.inner_text() == "0 of 16 runs, 0 samples"
    assert page.title() == "sweep"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit=3 gru", "no setting or result is named unit; the headers of the table show the names"),
        ("valid_onset_f1>high", "valid_onset_f1>high: high is not a number"),
    ],
)
def test_error_in_the_filter_is_stated_and_the_other_terms_apply(page: "Page", text: str, message: str) -> None:
    shown = apply_filter(page, text)
    assert page.locator("#filter-count").inner_text() == message
    assert len(shown) == (8 if "gru" in text else NUM_RUNS)


def test_best_run_by_a_result_is_linked_and_follows_the_filter(sweep: Sweep, page: "Page") -> None:
    def best_of(numbers: set[str]) -> str:
        number = min(numbers, key=lambda number: sweep.nats[number])
        return f"{sweep.runs[int(number)].name}: {sweep.nats[number]:.3f}"

    link = page.locator(".best-run a")
    assert page.get_by_label("Best run by").input_value() == "valid_nats_per_step"
    assert link.inner_text() == best_of(sweep.matching())
    apply_filter(page, "gru seed=1")
    assert link.inner_text() == best_of(sweep.matching(model__name="gru", training__seed=1))
    page.get_by_label("Best run by").select_option("valid onset F1")
    (number,) = re.findall(r"run-(\d+)$", link.get_attribute("href") or "")
    best = sweep.runs[int(number)].read_result()
    assert best is not None
    shown = sweep.matching(model__name="gru", training__seed=1)
    results = [result for run in shown if (result := sweep.runs[int(run)].read_result())]
    assert best.figure("valid", Measure.ONSET_F1) == max(result.figure("valid", Measure.ONSET_F1) or 0 for result in results)
    link.click()
    assert page.locator(f"#run-{number} .fold").get_attribute("aria-expanded") == "true"


def test_sections_are_folded_until_a_link_leads_to_them(page: "Page") -> None:
    sections = page.locator("section.run[id^=run]")
    bodies = page.locator("section.run[id^=run] > .body")
    is_open = "all => all.filter(body => !body.hidden).map(body => body.parentElement.id)"
    assert sections.count() == NUM_RUNS
    assert bodies.evaluate_all(is_open) == []
    assert page.locator("#run-7 .track").first.is_hidden()
    page.locator(".runs tbody a").nth(7).click()
    assert page.locator("#run-7 .track").first.is_visible()
    assert bodies.evaluate_all(is_open) == ["run-7"]
    button = page.locator("#run-7 .fold")
    assert button.get_attribute("aria-expanded") == "true"
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "false"
    assert bodies.evaluate_all(is_open) == []
    page.get_by_role("button", name="Unfold all").click()
    assert len(bodies.evaluate_all(is_open)) == NUM_RUNS
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert bodies.evaluate_all(is_open) == []


def test_play_all_skips_runs_that_are_filtered_out_and_unfolds_the_played_one(sweep: Sweep, page: "Page") -> None:
    apply_filter(page, "gru")
    first = min(sweep.matching(model__name="gru"), key=int)
    page.get_by_role("region", name="Player").get_by_role("button", name="Play all").click()
    assert page.evaluate("player.track.name").startswith(f"{sweep.runs[int(first)].name}/")
    assert page.locator(f"#run-{first} .fold").get_attribute("aria-expanded") == "true"


def test_columns_are_chosen_in_a_menu_for_both_tables(page: "Page") -> None:
    def shown(table: str, title: str) -> list[bool]:
        cells = f"""title => {{ const table = document.querySelector("table.{table}");
            const column = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === title);
            return [...new Set([...table.rows].map(row => row.cells[column].checkVisibility()))]; }}"""
        visibilities: list[bool] = page.evaluate(cells, title)
        return visibilities

    assert shown("runs", "CPU minutes") == shown("seeds", "CPU minutes") == [False]
    page.locator(".menu summary").click()
    page.get_by_label("CPU minutes").check()
    page.get_by_role("checkbox", name="valid loss").uncheck()
    for table in ("runs", "seeds"):
        assert shown(table, "CPU minutes") == [True]
        assert shown(table, "valid loss") == [False]
    page.keyboard.press("Escape")
    assert page.get_by_label("CPU minutes").is_hidden()


def test_head_and_first_column_stay_in_view(page: "Page") -> None:
    page.set_viewport_size({"width": 700, "height": 500})
    table = page.get_by_role("region", name="Table of the runs")
    table.evaluate("region => region.scrollTo(200, 300)")
    assert table.evaluate("region => [region.scrollLeft, region.scrollTop]") == [200, 300]
    offset = (
        "cell => { const region = cell.closest('[role=region]').getBoundingClientRect(), box = cell.getBoundingClientRect(); "
    )
    offset += "return [box.left - region.left, box.top - region.top]; }"
    assert table.locator("thead th").first.evaluate(offset) == [0, 0]
    assert table.locator("thead th").nth(1).evaluate(offset)[1] == 0
    assert table.locator("tbody th").nth(12).evaluate(offset)[0] == 0


def test_means_over_seeds_follow_the_filter(page: "Page") -> None:
    rows = page.locator("table.seeds tbody tr")
    assert rows.count() == NUM_RUNS // 2
    apply_filter(page, "learning_rate=0.002 seed=0")
    assert rows.filter(visible=True).count() == 4
    assert "±" in rows.filter(visible=True).first.inner_text()


def test_line_closest_to_the_pointer_is_highlighted_and_leads_to_its_run(sweep: Sweep, page: "Page") -> None:
    apply_filter(page, sweep.runs[9].name.partition("-")[0])  # other lines are not under the pointer
    for plot in (".parallel .plot-area", ".chart .plot-area"):
        area = page.locator(plot).first
        box = area.bounding_box()
        line = area.locator("path[data-run='9']")
        assert box is not None
        x, y = line.evaluate("path => { const { x, y } = path.getPointAtLength(path.getTotalLength() / 2); return [x, y]; }")
        area.hover(position={"x": box["width"] * x / 1000, "y": box["height"] * y / 1000 + 10})
        assert "active" in (line.get_attribute("class") or "")
        assert page.locator(".active-run").all_inner_texts() == [sweep.runs[9].name] * 3
    page.mouse.down()
    page.mouse.up()
    assert page.evaluate("location.hash") == "#run-9"
    assert page.locator("#run-9 .body").is_visible()


def test_definitions_are_shown_on_focus_and_hidden_by_escape(page: "Page") -> None:
    tooltip = page.locator("#tooltip")
    assert tooltip.is_hidden()
    page.locator(".runs thead button", has_text="valid onset F1").focus()
    page.locator("h1").hover()  # the page may scroll under the pointer
    assert "2 · precision · recall" in tooltip.inner_text()
    page.keyboard.press("Escape")
    assert tooltip.is_hidden()
    page.locator(".runs thead button", has_text="valid nats per step").hover()
    assert "in nats per step" in tooltip.inner_text()
    page.set_viewport_size({"width": 400, "height": 600})
    button = page.locator(".runs thead button", has_text="unlike corpus").or_(
        page.locator(".runs thead button", has_text="minutes")
    )
    button.first.focus()
    box = tooltip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400
    terms = page.locator("#definitions ~ dl dt").all_inner_texts()
    assert {"valid nats per step", "valid onset F1", "collapsed: stuck_note", "metric: groove similarity"} <= set(terms)


def test_foot_names_the_store_and_no_path(sweep: Sweep, page: "Page") -> None:
    foot = page.locator("#provenance ~ dl").inner_text()
    provenance = sweep.runs[0].read_provenance()
    assert f"sweep.h5, fingerprint {provenance.store.fingerprint}" in foot
    assert f"keras {provenance.versions['keras']}" in foot
    assert "2026-03-01 11:00 +0100" in foot
    assert "/" not in foot


def test_long_settings_are_cut_off_in_the_table_and_in_the_plot(page: "Page") -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    assert page.evaluate("Math.max(...[...document.querySelectorAll('.data td')].map((cell) => cell.offsetWidth))") <= 19 * 16
    overlaps = """() => { const box = (element) => element.getBoundingClientRect();
        const axes = [...document.querySelectorAll(".axis")];
        return axes.slice(1).map((next, index) => box(next).left
            - Math.max(...[...axes[index].children].map((label) => box(label).right))); }"""
    assert min(page.evaluate(overlaps)) > 0


@pytest.mark.parametrize("width", [400, 1400])
def test_labels_of_the_last_axis_are_within_the_plot(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    space = """() => { const right = (element) => element.getBoundingClientRect().right;
        const labels = [...document.querySelectorAll(".axis:last-child *")];
        return right(document.querySelector(".parallel-body")) - Math.max(...labels.map(right)); }"""
    assert page.evaluate(space) >= 0


def test_regions_have_different_names(page: "Page") -> None:
    names = page.locator("[role=region]").evaluate_all("all => all.map((region) => region.ariaLabel)")
    assert len(set(names)) == len(names) == 3 + NUM_RUNS - 1  # three tables or plots, and the metrics of each run with samples


def test_run_without_samples_says_so(page: "Page") -> None:
    page.get_by_role("button", name="Unfold all").click()
    assert page.locator(f"#run-{WITHOUT_SAMPLES}").get_by_text("no decoded samples").is_visible()


@pytest.mark.parametrize("width", [400, 2000])
def test_page_with_open_menu_fits_its_viewport(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.locator(".menu summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
