"use strict";

// A click on a header, or Enter on it, sorts the table by its column; a second one reverses the order. Empty cells stay last.
const body = document.querySelector(".runs tbody");
const headers = [...document.querySelectorAll(".runs thead th")];
const collator = new Intl.Collator("en", { numeric: true });

function compareKeys(a, b, isNumber) {
  return isNumber ? Number(a) - Number(b) : collator.compare(a, b);
}

headers.forEach((header, column) => {
  header.querySelector("button").addEventListener("click", () => {
    const direction = header.ariaSort === "ascending" ? -1 : 1;
    const isNumber = header.classList.contains("number");
    const sortKey = (row) => row.cells[column].dataset.sort;
    const rows = [...body.rows].sort((rowA, rowB) => {
      const a = sortKey(rowA), b = sortKey(rowB);
      if (a === "" || b === "") return (a === "") - (b === "");
      return direction * compareKeys(a, b, isNumber);
    });
    body.append(...rows);
    for (const other of headers) other.ariaSort = "none";
    header.ariaSort = direction > 0 ? "ascending" : "descending";
  });
});

// The run under the pointer or in focus is highlighted: its row, its lines, and its entries in the legends.
const runElements = [...document.querySelectorAll("[data-run]")];

function highlightRunOf(target) {
  const active = target instanceof Element ? target.closest("[data-run]") : null;
  document.documentElement.classList.toggle("has-active", active !== null);
  for (const element of runElements) {
    element.classList.toggle("active", active !== null && element.dataset.run === active.dataset.run);
  }
}

document.addEventListener("pointerover", (event) => highlightRunOf(event.target));
document.addEventListener("focusin", (event) => highlightRunOf(event.target));
document.addEventListener("focusout", (event) => highlightRunOf(event.relatedTarget));
document.documentElement.addEventListener("pointerleave", () => highlightRunOf(document.activeElement));
