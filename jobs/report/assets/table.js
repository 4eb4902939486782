"use strict";

const collator = new Intl.Collator("en", { numeric: true });

/** A table whose rows are runs or groups of runs. A click on a header sorts it, a second one reverses the order. */
class DataTable {
  #element;

  constructor(element) {
    this.#element = element;
    this.headers = [...element.tHead.rows[0].cells];
    this.headers.forEach((header, column) => {
      header.querySelector("button").addEventListener("click", () => this.#sort(column));
    });
  }

  get rows() {
    return [...this.#element.tBodies[0].rows];
  }

  showColumn(key, isShown) {
    const column = this.headers.findIndex((header) => header.dataset.key === key);
    if (column > 0) for (const row of this.#element.rows) row.cells[column].hidden = !isShown;
  }

  /** Sorts by a column; empty cells stay last. */
  #sort(column) {
    const header = this.headers[column];
    const direction = header.ariaSort === "ascending" ? -1 : 1;
    const isNumber = header.classList.contains("number");
    const sortKey = (row) => row.cells[column].dataset.sort;
    const rows = this.rows.sort((rowA, rowB) => {
      const a = sortKey(rowA), b = sortKey(rowB);
      if (a === "" || b === "") return (a === "") - (b === "");
      return direction * (isNumber ? Number(a) - Number(b) : collator.compare(a, b));
    });
    this.#element.tBodies[0].append(...rows);
    for (const other of this.headers) other.ariaSort = "none";
    header.ariaSort = direction > 0 ? "ascending" : "descending";
  }
}

const dataTables = [...document.querySelectorAll("table.data")].map((element) => new DataTable(element));
const columnMenu = document.querySelector(".menu");

for (const box of columnMenu.querySelectorAll("input")) {
  box.addEventListener("change", () => dataTables.forEach((table) => table.showColumn(box.value, box.checked)));
}
document.addEventListener("click", (event) => { if (!columnMenu.contains(event.target)) columnMenu.open = false; });
columnMenu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  columnMenu.open = false;
  columnMenu.querySelector("summary").focus();
});
