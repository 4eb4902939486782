"use strict";

// The samples of the page: each has a roll, a button and a slider, and all share the player at the bottom.

const MARGIN_OF_DRAWN_ROLLS = "600px"; // beyond the window

/** A roll that can be played. */
class Track {
  constructor(figure) {
    this.name = figure.getAttribute("aria-label");
    this.figure = figure;
    this.button = figure.querySelector(".play");
    this.slider = figure.querySelector(".roll");
    this.view = new RollView(this.slider);
  }

  get roll() {
    return this.view.roll;
  }

  get position() {
    return player.track === this ? player.position : 0;
  }

  /** Shows the state of the player. */
  update() {
    const isPlaying = player.track === this && player.isPlaying;
    this.button.ariaLabel = `${isPlaying ? "Pause" : "Play"} ${this.name}`;
    this.figure.classList.toggle("playing", isPlaying);
    this.slider.ariaValueMax = Math.ceil(this.roll.duration);
    this.updatePosition();
  }

  updatePosition() {
    const bar = Math.max(1, lastNotAbove(this.roll.barLines, this.roll.stepAt(this.position)) + 1);
    this.slider.ariaValueNow = Math.floor(this.position);
    this.slider.ariaValueText = `${clock(this.position)} of ${clock(this.roll.duration)}, bar ${bar}`;
    this.view.draw(player.track === this ? this.position : null);
  }
}

const ANNOUNCEMENTS = {
  playing: (track) => `Playing ${track.name}`,
  paused: (track) => `Paused ${track.name}`,
  stopped: () => "Stopped",
};
const player = new Player(showChange);
const tracks = [...document.querySelectorAll(".track")].map((figure) => new Track(figure));
const trackOf = new Map(tracks.map((track) => [track.figure, track]));
const drawn = new Set(); // the tracks in the window or close to it
const controls = document.querySelector(".player");
const announcement = controls.querySelector("[role=status]");
const time = controls.querySelector(".time");
let lastTrack = null;
let frame = 0;
let lastPosition = 0;

/** Seconds as minutes and seconds. */
function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function showChange(state) {
  if (lastTrack !== player.track) lastTrack?.update();
  player.track.figure.dispatchEvent(new Event("reveal", { bubbles: true })); // a page may have hidden it
  lastTrack = player.track;
  announce(ANNOUNCEMENTS[state](player.track));
  player.track.update();
  showTime();
  if (state === "playing") {
    player.track.figure.scrollIntoView({ block: "nearest" });
    player.track.view.reveal(player.position);
    lastPosition = player.position;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(animate);
  }
}

/** Shows a text, which screen readers read if it is new. */
function announce(text) {
  if (announcement.textContent !== text) announcement.textContent = text;
}

function showTime() {
  time.textContent = `${clock(player.position)} / ${clock(player.track.roll.duration)}`;
}

/** Moves the playhead. The roll scrolls when the playhead leaves it, but not after the user scrolled away from the playhead. */
function animate() {
  if (!player.isPlaying) return;
  const { view } = player.track;
  if (view.isVisible(lastPosition)) view.reveal(player.position);
  lastPosition = player.position;
  player.track.updatePosition();
  showTime();
  frame = requestAnimationFrame(animate);
}

function toggle(track) {
  if (track === player.track && player.isPlaying) player.pause();
  else player.play(track);
}

/** The step to which a key moves from a step; undefined for other keys. */
function stepAfter(key, roll, step) {
  const beat = roll.stepsPerQuarter, bar = lastNotAbove(roll.barLines, step);
  const isAtBarLine = step - roll.barLines[bar] < beat / 2;
  return {
    ArrowRight: step + beat,
    ArrowUp: step + beat,
    ArrowLeft: step - beat,
    ArrowDown: step - beat,
    PageUp: roll.barLines[bar + 1] ?? roll.numSteps,
    PageDown: roll.barLines[isAtBarLine ? bar - 1 : bar] ?? 0,
    Home: 0,
    End: roll.numSteps,
  }[key];
}

function handleKey(event, track) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const step = stepAfter(event.key, track.roll, track.roll.stepAt(track.position));
  if (event.key === " ") toggle(track);
  else if (step !== undefined) player.seek(track, track.roll.timeAt(step));
  else return;
  event.preventDefault();
  track.view.reveal(player.position);
}

function drawAll() {
  RollView.palette = readPalette();
  for (const track of drawn) track.update();
}

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const track = trackOf.get(target);
    if (isIntersecting) {
      drawn.add(track);
      track.update();
    } else {
      drawn.delete(track);
      track.view.release();
    }
  }
}, { rootMargin: MARGIN_OF_DRAWN_ROLLS });

for (const track of tracks) {
  observer.observe(track.figure);
  track.button.addEventListener("click", () => toggle(track));
  track.slider.addEventListener("keydown", (event) => handleKey(event, track));
  track.slider.addEventListener("scroll", () => track.updatePosition());
  track.slider.addEventListener("click", (event) => {
    const seconds = track.view.timeAt(event.clientX);
    if (seconds !== null) player.seek(track, seconds);
  });
}

for (const button of document.querySelectorAll(".play-all")) {
  const container = button.closest(".sample-set") ?? document;
  const isPlayed = ({ figure }) => container.contains(figure) && !figure.closest(".passage, .filtered"); // of another piece, or hidden
  button.addEventListener("click", () => player.playAll(tracks.filter(isPlayed)));
}
controls.querySelector(".stop").addEventListener("click", () => { if (player.track) player.stop(); });
controls.querySelector("[name=volume]").addEventListener("input", (event) => {
  player.volume = (event.target.value / 100) ** 2; // perceived loudness is not linear
});
controls.querySelector("[name=zoom]").addEventListener("input", (event) => {
  RollView.zoom = Number(event.target.value);
  drawAll();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && player.track) player.stop(); });
window.addEventListener("resize", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
announce(""); // replaces the message that the page is loading

// All rolls are printed, in light colors; the style sheet depends on the class.
function setPrinting(isPrinting) {
  document.documentElement.classList.toggle("is-printing", isPrinting);
  RollView.isFitted = isPrinting;
  RollView.palette = readPalette();
}

window.addEventListener("beforeprint", () => {
  setPrinting(true);
  for (const track of tracks) if (track.figure.checkVisibility()) track.update();
});
window.addEventListener("afterprint", () => {
  setPrinting(false);
  for (const track of tracks) if (!drawn.has(track)) track.view.release();
  drawAll();
});
