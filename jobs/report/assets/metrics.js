"use strict";

// The distributions in the tables of metrics: bars of the held-out pieces, and a line of the samples. They are drawn when a table is
// opened. jobs/report/metric_rows.py writes the heights, a digit for each bar.

const PLOT_HEIGHT = 63; // the largest digit

/** The path of a step function over the bars. */
function stepPath(text) {
  const heights = [...text].map((digit) => DIGIT_VALUES[digit.charCodeAt(0)]);
  return `M0 ${PLOT_HEIGHT}${heights.map((height, bar) => `V${PLOT_HEIGHT - height}H${bar + 1}`).join("")}V${PLOT_HEIGHT}`;
}

function drawDistribution(cell) {
  const { samples, heldOut } = cell.dataset;
  const paths = `<path class="held-out" d="${stepPath(heldOut)}"/><path class="samples" d="${stepPath(samples)}"/>`;
  const box = `0 0 ${samples.length} ${PLOT_HEIGHT}`;
  cell.insertAdjacentHTML("afterbegin", `<svg viewBox="${box}" preserveAspectRatio="none" aria-hidden="true">${paths}</svg>`);
}

for (const details of document.querySelectorAll(".metrics")) {
  details.addEventListener("toggle", () => details.querySelectorAll("[data-samples]").forEach(drawDistribution), { once: true });
}
