"use strict";

// The run under the pointer or in focus is highlighted: its row, its lines, and its entries in the legends.

const PLOT_SIZE = 1000; // of the coordinate system of the lines, see jobs/report/axes.py
const MAX_DISTANCE_PX = 40; // between the pointer and a line
const elementsOfRun = Map.groupBy(document.querySelectorAll("[data-run]"), (element) => element.dataset.run);
const activeRunLabels = document.querySelectorAll(".active-run");
let activeRun = null;

/** Highlights a run; null for none. */
function highlight(run) {
  if (run === activeRun) return;
  for (const element of elementsOfRun.get(activeRun) ?? []) element.classList.remove("active");
  activeRun = run;
  const elements = elementsOfRun.get(run) ?? [];
  document.documentElement.classList.toggle("has-active", run !== null);
  for (const label of activeRunLabels) label.textContent = run === null ? "" : elements[0].cells[0].textContent;
  for (const element of elements) {
    element.classList.add("active");
    if (element instanceof SVGPathElement) element.parentElement.append(element); // above the others
    else if (element.matches(".legend li")) reveal(element);
  }
}

/** Scrolls a legend to one of its entries, unless the pointer is in it. */
function reveal(entry) {
  const legend = entry.parentElement;
  if (!legend.matches(":hover")) legend.scrollTop = entry.offsetTop - legend.clientHeight / 2;
}

/** A plot with a line for each run: the line closest to the pointer is highlighted, and a click leads to the samples of its run. */
class Plot {
  #svg;
  #lines;

  constructor(area) {
    this.#svg = area.querySelector("svg");
    this.#lines = [...this.#svg.querySelectorAll("[data-run]")].map((path) => ({ path, points: null }));
    area.addEventListener("pointermove", (event) => highlight(this.#runAt(event)));
    area.addEventListener("click", (event) => {
      const run = this.#runAt(event);
      if (run === null) return;
      unfoldTarget(`#run-${run}`); // also if it was the last target
      location.hash = `run-${run}`;
    });
  }

  /** The run whose line is closest to the pointer; null if none is close. */
  #runAt({ clientX, clientY }) {
    const box = this.#svg.getBoundingClientRect();
    const x = PLOT_SIZE * (clientX - box.left) / box.width, y = PLOT_SIZE * (clientY - box.top) / box.height;
    let run = null, smallest = PLOT_SIZE * MAX_DISTANCE_PX / box.height;
    for (const line of this.#lines) {
      if (line.path.classList.contains("filtered")) continue;
      const distance = distanceTo(line.points ??= pointsOf(line.path), x, y);
      if (distance < smallest) [run, smallest] = [line.path.dataset.run, distance];
    }
    return run;
  }
}

/** The points of a path, from left to right. */
function pointsOf(path) {
  const numbers = path.getAttribute("d").match(/[\d.]+/g).map(Number);
  return Array.from({ length: Math.floor(numbers.length / 2) }, (_, index) => [numbers[2 * index], numbers[2 * index + 1]]);
}

/** The vertical distance of a place to a line, or its distance to the closest end. */
function distanceTo(points, x, y) {
  const next = points.findIndex(([pointX]) => pointX >= x);
  if (next > 0) {
    const [x0, y0] = points[next - 1], [x1, y1] = points[next];
    return Math.abs(y0 + (y1 - y0) * (x - x0) / (x1 - x0) - y);
  }
  const [endX, endY] = points.at(next === 0 ? 0 : -1);
  return Math.hypot(endX - x, endY - y);
}

function highlightRunOf(target) {
  const element = target instanceof Element ? target.closest("[data-run], .plot-area") : null;
  if (!element?.matches(".plot-area *, .plot-area")) highlight(element?.dataset.run ?? null);
}

for (const area of document.querySelectorAll(".plot-area")) new Plot(area);
document.addEventListener("pointerover", (event) => highlightRunOf(event.target));
document.addEventListener("focusin", (event) => highlightRunOf(event.target));
document.addEventListener("focusout", (event) => highlightRunOf(event.relatedTarget));
document.documentElement.addEventListener("pointerleave", () => highlightRunOf(document.activeElement));
