"use strict";

// A click on a header, or Enter on it, sorts by its column; another turns the order round. Empty cells stay below.
const body = document.querySelector("tbody");
const headers = [...document.querySelectorAll("thead th")];
const collator = new Intl.Collator("en", { numeric: true });

function compare(one, other, isNumber) {
  if (one === "" || other === "") return (one === "") - (other === "");
  return isNumber ? Number(one) - Number(other) : collator.compare(one, other);
}

headers.forEach((header, column) => {
  header.querySelector("button").addEventListener("click", () => {
    const turned = header.ariaSort === "ascending" ? -1 : 1;
    const isNumber = header.classList.contains("number");
    const key = (row) => row.cells[column].dataset.sort;
    const rows = [...body.rows].sort((one, other) => {
      const order = compare(key(one), key(other), isNumber);
      return key(one) === "" || key(other) === "" ? order : turned * order;
    });
    body.append(...rows);
    for (const each of headers) each.ariaSort = "none";
    header.ariaSort = turned > 0 ? "ascending" : "descending";
  });
});

// What belongs to the run under the pointer or in focus stands out: its row, its lines, its names in the legends.
const marked = [...document.querySelectorAll("[data-run]")];

function show(target) {
  const found = target instanceof Element ? target.closest("[data-run]") : null;
  document.documentElement.classList.toggle("chosen", found !== null);
  for (const each of marked) each.classList.toggle("on", found !== null && each.dataset.run === found.dataset.run);
}

document.addEventListener("pointerover", (event) => show(event.target));
document.addEventListener("focusin", (event) => show(event.target));
document.addEventListener("focusout", (event) => show(event.relatedTarget));
document.documentElement.addEventListener("pointerleave", () => show(document.activeElement));
