"use strict";

// The filter hides the rows, lines and sections of the runs that do not match, and links the best run that matches.

const TERM = /^([^\s"=<>!]+)(!=|<=|>=|=|<|>)(.*)$/;
const OPERATORS = {
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};
const [runTable, ...groupTables] = dataTables;
const groupRows = groupTables.flatMap((table) => table.rows);
const filterInput = document.querySelector("[name=filter]");
const filterCount = document.getElementById("filter-count");
const bestSelect = document.querySelector("[name=best]");
const bestLink = document.querySelector(".best-run a");
const sharedSettings = [...document.querySelectorAll(".common [data-key]")];
const filterRuns = runTable.rows.map((row) => {
  const section = document.getElementById(`run-${row.dataset.run}`);
  const isSearched = (_, column) => column < 2 || "setting" in runTable.headers[column].dataset;
  return {
    row,
    text: [...row.cells].filter(isSearched).map((cell) => cell.textContent).join("\n").toLowerCase(),
    elements: [...elementsOfRun.get(row.dataset.run), section],
    numSamples: section.querySelectorAll(".track:not(.passage .track)").length,
  };
});

/** A name as the keys are written: "valid onset F1" is "valid_onset_f1". */
function keyOf(name) {
  return name.toLowerCase().replace(/[^a-z0-9.]+/g, "_");
}

/** The element with a name: its key, its title, or its key without the section, such as learning_rate of training.learning_rate. */
function findByName(elements, name) {
  const key = keyOf(name);
  return elements.find(({ dataset }) => dataset.key === key)
    ?? elements.find((element) => keyOf(element.querySelector("button, dt").textContent) === key)
    ?? elements.find(({ dataset }) => dataset.key.endsWith(`.${key}`));
}

/** A function that reads the [text, sort key] of a run; undefined for an unknown name. */
function readerOf(name) {
  const header = findByName(runTable.headers, name);
  if (header) return ({ row }) => [row.cells[header.cellIndex].textContent, row.cells[header.cellIndex].dataset.sort];
  const shared = findByName(sharedSettings, name)?.querySelector("dd").textContent;
  if (shared !== undefined) return () => [shared, shared];
}

/** Whether a value, as text and as sort key, equals a text or, if both are numbers, a number. */
function isEqual([text, sort], expected) {
  if (text.toLowerCase() === expected.toLowerCase()) return true;
  return sort !== "" && expected !== "" && Number(sort) === Number(expected);
}

function compares(operator, value, expected) {
  if (operator === "=") return isEqual(value, expected);
  if (operator === "!=") return !isEqual(value, expected);
  return value[1] !== "" && OPERATORS[operator](Number(value[1]), Number(expected));
}

/** A function that tests a run for a term of the filter, or the text of an error. */
function testOf(term) {
  const [, name, operator, quoted] = TERM.exec(term) ?? [];
  const expected = (quoted ?? term).replaceAll('"', "");
  if (!operator) return ({ text }) => text.includes(expected.toLowerCase());
  const read = readerOf(name);
  if (!read) return `no setting or result is named ${name}; the headers of the table show the names`;
  if (operator in OPERATORS && Number.isNaN(Number(expected))) return `${term}: ${expected} is not a number`;
  return expected === "" ? () => true : (run) => compares(operator, read(run), expected); // it is being typed
}

function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

function applyFilter() {
  const tests = (filterInput.value.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? []).map(testOf);
  const error = tests.find((test) => typeof test === "string");
  const shown = filterRuns.filter((run) => tests.every((test) => typeof test === "string" || test(run)));
  const numbers = new Set(shown.map(({ row }) => row.dataset.run));
  for (const { row, elements } of filterRuns) {
    for (const element of elements) element.classList.toggle("filtered", !numbers.has(row.dataset.run));
  }
  for (const row of groupRows) {
    const runs = row.dataset.runs?.split(" ") ?? [row.dataset.run];
    row.classList.toggle("filtered", !runs.some((run) => numbers.has(run)));
  }
  const numSamples = shown.reduce((total, run) => total + run.numSamples, 0);
  const of = shown.length < filterRuns.length ? `${shown.length} of ` : "";
  filterCount.textContent = error ?? `${of}${counted(filterRuns.length, "run")}, ${counted(numSamples, "sample")}`;
  filterCount.classList.toggle("error", error !== undefined);
  showBest(shown);
}

/** Links the run that is best by the chosen result. */
function showBest(shown) {
  const header = findByName(runTable.headers, bestSelect.value);
  if (!header) return;
  const direction = header.dataset.best === "max" ? -1 : 1;
  const cellOf = ({ row }) => row.cells[header.cellIndex];
  const [best] = shown
    .filter((run) => cellOf(run).dataset.sort !== "")
    .sort((a, b) => direction * (cellOf(a).dataset.sort - cellOf(b).dataset.sort));
  bestLink.textContent = best ? `${best.row.cells[0].textContent}: ${cellOf(best).textContent}` : "none";
  bestLink.setAttribute("href", best ? `#run-${best.row.dataset.run}` : "#runs");
}

filterInput.addEventListener("input", applyFilter);
bestSelect.addEventListener("change", applyFilter);
applyFilter();
