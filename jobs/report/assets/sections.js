"use strict";

// The sections of the runs can be folded. A link to a run, a search in the page and the playback of a sample unfold its section.

function setFolded(section, isFolded) {
  section.querySelector(".fold").ariaExpanded = String(!isFolded);
  section.querySelector(".body").hidden = isFolded ? "until-found" : false;
}

function unfoldTarget(hash) {
  const section = document.getElementById(hash?.slice(1) ?? "");
  if (section?.matches(".run")) setFolded(section, false);
}

for (const button of document.querySelectorAll(".fold")) {
  const section = button.closest(".run");
  button.addEventListener("click", () => setFolded(section, button.ariaExpanded === "true"));
}
for (const name of ["fold", "unfold"]) {
  document.querySelector(`[name=${name}]`).addEventListener("click", () => {
    for (const section of document.querySelectorAll(".run")) setFolded(section, name === "fold");
  });
}
for (const event of ["beforematch", "reveal"]) {
  document.addEventListener(event, ({ target }) => {
    const section = target.closest(".run");
    if (section) setFolded(section, false);
  });
}
document.addEventListener("click", (event) => unfoldTarget(event.target.closest("a[href^='#']")?.hash));
window.addEventListener("hashchange", () => unfoldTarget(location.hash));
unfoldTarget(location.hash);
