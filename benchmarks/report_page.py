"""Size of the report of a large sweep, and how fast a browser opens and filters it.

    python -m benchmarks.report_page

The sweep is generated without training: 20 configurations with ten seeds each, and eight samples of 512 steps per run. The report
is opened from disk in headless Chromium.
"""

import argparse
import json
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from jobs import collect, decode
from pianogen import command
from pianogen.errors import UsageError
from tests.support.made_sweep import VALUES, made_sweep

if TYPE_CHECKING:
    from playwright.sync_api import Page

_CONFIGURATIONS = 20  # of the generated sweep
_SAMPLES, _STEPS = 8, 512  # of a run
_NUM_LOADS = 5
_FILTERS = ("gru", "gru learning_rate<=0.002", "nats_step<8 onset_f1>0.2", "seed=3", "")
_COLUMNS = {
    "mb": ("MB", ".1f"),
    "collect_s": ("s to collect", ".0f"),
    "load_s": ("s to load", ".2f"),
    "load_cpu_s": ("CPU s to load", ".2f"),
    "filter_ms": ("ms to filter", ".0f"),
    "filter_unfolded_ms": ("ms to filter, unfolded", ".0f"),
    "highlight_ms": ("ms to highlight", ".1f"),
}
_log = logging.getLogger("benchmarks.report_page")

# Applies a filter; milliseconds until the next frame is drawn.
_FILTER = """text => new Promise(resolve => {
  const start = performance.now();
  filterInput.value = text;
  filterInput.dispatchEvent(new Event("input"));
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
})"""
# Moves the pointer over the first chart of curves; mean milliseconds of a movement.
_HOVER = """() => {
  const area = document.querySelector(".chart .plot-area"), { left, top, width, height } = area.getBoundingClientRect();
  const start = performance.now();
  for (let i = 0; i < 100; i += 1) {
    area.dispatchEvent(new PointerEvent("pointermove", { clientX: left + width / 2, clientY: top + height * i / 100 }));
  }
  return (performance.now() - start) / 100;
}"""


def main(arguments: Sequence[str]) -> int:
    """The command `python -m benchmarks.report_page`."""
    options = _parse(arguments)
    chromium = _find_chromium()
    with tempfile.TemporaryDirectory(prefix="pianogen-report-page-") as name:
        report, collect_s = _make_report(Path(name), options.seeds)
        figures = {"mb": report.stat().st_size / 1e6, "collect_s": collect_s} | _measure(report, chromium)
    runs = _CONFIGURATIONS * options.seeds
    table = Table(title=f"{runs:,} runs, {_SAMPLES * runs:,} samples of {_STEPS} steps", title_justify="left", box=None)
    for heading, _ in _COLUMNS.values():
        table.add_column(heading, justify="right")
    table.add_row(*(format(figures[key], number_format) for key, (_, number_format) in _COLUMNS.items()))
    Console(width=130).print(table)
    print(json.dumps({"benchmark": "report_page", "runs": runs, "samples": _SAMPLES * runs, **figures}))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m benchmarks.report_page",
        description="Measure the report of a sweep of 20 configurations: its size, and the time to open and to filter it in\n"
        "Chromium. Prints a table; the last line is a JSON object with all figures.",
        epilog="example:\n  python -m benchmarks.report_page --seeds 2",
    )
    parser.add_argument(
        "--seeds", type=command.positive_int, default=10, help="seeds of each configuration (default: 10, which are 200 runs)"
    )
    return parser.parse(arguments)


def _find_chromium() -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise UsageError("Chromium is not installed, and it is needed to open the report; as root: apt-get install chromium")
    return program


def _make_report(folder: Path, num_seeds: int) -> tuple[Path, float]:
    """The report of the generated sweep, and the time to collect it in seconds."""
    sweep, out = folder / "sweep", folder / "collected"
    _log.info("writing the runs and their samples")
    grid: dict[str, Any] = {**VALUES["grid"], "training.seed": list(range(num_seeds))}
    for run in made_sweep(sweep, _SAMPLES, _STEPS, values={**VALUES, "grid": grid}):
        decode.decode_job(str(run.path), {str(run.path): str(run.path / "midi")})
    start_s = time.perf_counter()
    with redirect_stdout(sys.stderr):
        collect.main([str(sweep), "--out", str(out)])
    return out / "report.html", time.perf_counter() - start_s


def _measure(report: Path, chromium: str) -> dict[str, float]:
    """Medians of the times in a browser."""
    from playwright.sync_api import sync_playwright  # here, because --help must not need it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": 1_400, "height": 1_000})
        loads = _load(page, report)
        figures = {key: statistics.median(load[key] for load in loads) for key in loads[0]} | {"filter_ms": _filter_ms(page)}
        figures["highlight_ms"] = page.evaluate(_HOVER)
        page.locator("[name=unfold]").evaluate("button => button.click()")
        figures["filter_unfolded_ms"] = _filter_ms(page)
        browser.close()
    return figures


def _load(page: "Page", report: Path) -> list[dict[str, float]]:
    """For each time that the page is opened, seconds until it can be used, and the CPU seconds of its main thread."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    loads = []
    for _ in range(_NUM_LOADS):
        page.goto(report.as_uri())
        load_ms: Any = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        metrics = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
        loads.append({"load_s": load_ms / 1_000, "load_cpu_s": metrics["TaskDuration"]})
    return loads


def _filter_ms(page: "Page") -> float:
    return statistics.median(float(page.evaluate(_FILTER, text)) for text in _FILTERS)


if __name__ == "__main__":
    sys.exit(command.run(main))
