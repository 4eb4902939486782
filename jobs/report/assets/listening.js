"use strict";

// The questions of a listening test, and the answers as a CSV file.

RollView.isBlind = true; // the notes would show what the ear shall judge

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const listener = "listener-" + [...crypto.getRandomValues(new Uint8Array(10))].map((value) => LETTERS[value % 26]).join("");
const items = [...document.querySelectorAll(".item")];
const finish = document.querySelector(".finish");
const progress = finish.querySelector(".progress");
let isSaved = true;
let isWarned = false; // the next click saves incomplete answers

/** The chosen values of an item; empty if there is none. */
function choices(item) {
  return [...item.querySelectorAll("fieldset")].map((question) => question.querySelector(":checked")?.value ?? "");
}

function showProgress() {
  const numAnswered = items.filter((item) => choices(item).every(Boolean)).length;
  progress.textContent = `${numAnswered} of ${items.length} excerpts are answered.`;
}

function csvText() {
  const rows = items.map((item) => [document.body.dataset.test, listener, item.dataset.item, ...choices(item)]);
  return [["test", "listener", "item", "answer", "rating"], ...rows].map((row) => row.join(",") + "\r\n").join("");
}

/** Lists the items without a complete answer; returns whether there are any. */
function reportMissing() {
  const missing = items.filter((item) => !choices(item).every(Boolean));
  for (const item of items) item.classList.toggle("missing", missing.includes(item));
  if (!missing.length) return false;
  const numbers = missing.map((item) => items.indexOf(item) + 1).join(", ");
  progress.textContent = `Answers are missing for excerpt ${numbers}. Press the button again to save the incomplete answers.`;
  return true;
}

function save() {
  if (!isWarned && reportMissing()) {
    isWarned = true;
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csvText()], { type: "text/csv" }));
  link.download = `${document.body.dataset.test}-${listener}.csv`;
  link.click();
  isSaved = true;
  progress.textContent = `Saved as ${link.download}. Please send this file to the researcher.`;
}

for (const item of items) {
  const track = trackOf.get(item.querySelector(".track"));
  item.querySelector(".duration").textContent = clock(track.roll.duration);
  item.addEventListener("change", () => {
    isSaved = isWarned = false;
    item.classList.remove("missing");
    showProgress();
  });
}
finish.querySelector(".save").addEventListener("click", save);
window.addEventListener("beforeunload", (event) => { if (!isSaved) event.preventDefault(); });
showProgress();
