"use strict";

// The questions of a listening test, and the answers as a CSV file.

RollView.isBlind = true; // visible notes would reveal which excerpts are generated

/** A single excerpt, which is real or generated, or a pair, one of which is real. Each excerpt can be rated. */
class Question {
  #answer;
  #ratings;

  constructor(section) {
    this.section = section;
    this.#answer = section.querySelector(".answer");
    this.#ratings = [...section.querySelectorAll(".rating")];
  }

  get isPair() {
    return this.#ratings.length === 2;
  }

  get isAnswered() {
    const required = this.isPair ? [this.#answer] : [this.#answer, ...this.#ratings];
    return required.every(chosen);
  }

  /** The item, the answer and the rating of each excerpt; empty texts for what is missing. */
  get rows() {
    const answer = chosen(this.#answer);
    return this.#ratings.map((rating) => {
      const { item } = rating.dataset;
      const ownAnswer = this.isPair && answer ? (answer === item ? "real" : "generated") : answer;
      return [item, ownAnswer, chosen(rating)];
    });
  }
}

/** The chosen value of a group of radio buttons; empty if there is none. */
function chosen(fieldset) {
  return fieldset.querySelector(":checked")?.value ?? "";
}

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const listener = "listener-" + [...crypto.getRandomValues(new Uint8Array(10))].map((value) => LETTERS[value % 26]).join("");
const questions = [...document.querySelectorAll(".item")].map((section) => new Question(section));
const noun = questions[0].isPair ? "pair" : "excerpt";
const finish = document.querySelector(".finish");
const progress = finish.querySelector(".progress");
let isSaved = true;
let isWarned = false; // the next click saves incomplete answers

function showProgress() {
  const numAnswered = questions.filter((question) => question.isAnswered).length;
  progress.textContent = `${numAnswered} of ${questions.length} ${noun}s are answered.`;
}

function csvText() {
  const rows = questions.flatMap((question) => question.rows);
  const lines = [["test", "listener", "item", "answer", "rating"], ...rows.map((row) => [document.body.dataset.test, listener, ...row])];
  return lines.map((line) => line.join(",") + "\r\n").join("");
}

/** Lists the questions without a complete answer; returns whether there are any. */
function reportMissing() {
  for (const { section, isAnswered } of questions) section.classList.toggle("missing", !isAnswered);
  const missing = [...questions.keys()].filter((index) => !questions[index].isAnswered);
  if (!missing.length) return false;
  const numbers = missing.map((index) => index + 1).join(", ");
  progress.textContent = `Answers are missing for ${noun} ${numbers}. Press the button again to save the incomplete answers.`;
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

for (const track of tracks) track.figure.querySelector(".duration").textContent = clock(track.roll.duration);
for (const { section } of questions) {
  section.addEventListener("change", () => {
    isSaved = isWarned = false;
    section.classList.remove("missing");
    showProgress();
  });
}
finish.querySelector(".save").addEventListener("click", save);
window.addEventListener("beforeunload", (event) => { if (!isSaved) event.preventDefault(); });
showProgress();
