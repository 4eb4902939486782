"use strict";

const KEY_PX = 3, MIN_STEP_PX = 2, MAX_STEP_PX = 16; // without zoom, a roll is as wide as the page within these limits
const LEFT_PX = 44, MARGIN_PX = 8, NUMBERS_PX = 18, TEMPO_PX = 24;
const KEYS_PX = NUM_KEYS * KEY_PX;
const NUMBERS_TOP_PX = MARGIN_PX + KEYS_PX, TEMPO_TOP_PX = NUMBERS_TOP_PX + NUMBERS_PX;
const HEIGHT_PX = TEMPO_TOP_PX + TEMPO_PX + MARGIN_PX;
const MIN_NUMBER_PX = 40; // between two bar numbers
const C1_KEY = 3;
const BLACK_KEYS = new Set([1, 3, 6, 8, 10]); // above a C
const COLORS = ["background", "black-key", "octave", "bar", "hold", "onset", "tempo", "playhead", "muted"];

/** The colors of the style sheet by name. */
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`)]));
}

/** The top of a key on the canvas; high keys are at the top. */
function keyTop(key) {
  return MARGIN_PX + (NUM_KEYS - 1 - key) * KEY_PX;
}

/**
 * A roll on a canvas that is as wide as its element: keys over steps, with bar lines, bar numbers and the tempo below. The element
 * scrolls over the complete roll, and the canvas stays in place and shows the visible steps.
 */
class RollView {
  static zoom = 1; // of all rolls
  static isBlind = false; // whether only the playhead is drawn
  static isFitted = false; // whether all steps are visible, whatever the zoom
  static palette = readPalette();

  #canvas = document.createElement("canvas");
  #extent = document.createElement("div"); // as wide as the complete roll
  #roll = null;
  #stepPx = 0;

  constructor(element) {
    this.element = element;
    this.#extent.style.height = `${HEIGHT_PX}px`;
    this.#extent.append(this.#canvas);
    element.append(this.#extent);
  }

  get roll() {
    return this.#roll ??= new Roll(this.element.dataset.roll);
  }

  /** Draws the visible steps, and the playhead at a time in seconds; null for none. */
  draw(position) {
    this.#scale();
    const width = this.element.clientWidth;
    const context = this.#clear(width);
    const first = this.element.scrollLeft / this.#stepPx;
    const visible = { context, first, last: first + (width - LEFT_PX) / this.#stepPx, width };
    if (!RollView.isBlind) this.#drawKeys(visible);
    context.save();
    context.beginPath();
    context.rect(LEFT_PX, 0, width - LEFT_PX, HEIGHT_PX);
    context.clip();
    if (!RollView.isBlind) {
      this.#drawBars(visible);
      this.#drawNotes(visible);
      this.#drawTempo(visible);
    }
    if (position !== null) this.#fill(context, "playhead", this.#left(this.roll.stepAt(position)) - 1, 0, 2, HEIGHT_PX);
    context.restore();
    if (!RollView.isBlind) this.#drawTempoLabels(context);
  }

  /** Frees the memory of the canvas. */
  release() {
    this.#canvas.width = this.#canvas.height = 0;
  }

  /** The seconds of the roll at a horizontal position in the window; null to the left of the first step. */
  timeAt(clientX) {
    this.#scale();
    const left = clientX - this.element.getBoundingClientRect().left - LEFT_PX;
    return left < 0 ? null : this.roll.timeAt((left + this.element.scrollLeft) / this.#stepPx);
  }

  /** Whether the element shows the step at a time in seconds. */
  isVisible(position) {
    this.#scale();
    const left = this.#left(this.roll.stepAt(position));
    return left >= LEFT_PX && left <= this.element.clientWidth - MARGIN_PX;
  }

  /** Scrolls to a time in seconds if it is not visible. */
  reveal(position) {
    if (this.isVisible(position)) return;
    this.element.scrollLeft += this.#left(this.roll.stepAt(position)) - LEFT_PX - MIN_NUMBER_PX;
  }

  /** Adapts the width of a step to the width of the page and the zoom; the step in the middle stays there. */
  #scale() {
    const width = this.element.clientWidth;
    const fitted = (width - LEFT_PX - MARGIN_PX) / this.roll.numSteps;
    const stepPx = RollView.isFitted ? fitted : Math.min(Math.max(fitted, MIN_STEP_PX), MAX_STEP_PX) * RollView.zoom;
    if (stepPx === this.#stepPx) return;
    const half = (width - LEFT_PX) / 2;
    const middle = (this.element.scrollLeft + half) / this.#stepPx;
    this.#extent.style.width = `${LEFT_PX + MARGIN_PX + Math.floor(stepPx * this.roll.numSteps)}px`;
    if (this.#stepPx) this.element.scrollLeft = middle * stepPx - half;
    this.#stepPx = stepPx;
  }

  /** The drawing context of the canvas in CSS pixels, with an empty background. */
  #clear(width) {
    const ratio = window.devicePixelRatio;
    const [deviceWidth, deviceHeight] = [Math.round(width * ratio), Math.round(HEIGHT_PX * ratio)];
    if (this.#canvas.width !== deviceWidth || this.#canvas.height !== deviceHeight) {
      this.#canvas.width = deviceWidth;
      this.#canvas.height = deviceHeight;
      this.#canvas.style.width = `${width}px`;
      this.#canvas.style.height = `${HEIGHT_PX}px`;
    }
    const context = this.#canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    this.#fill(context, "background", 0, 0, width, HEIGHT_PX);
    return context;
  }

  /** The horizontal position of a step on the canvas. */
  #left(step) {
    return LEFT_PX + step * this.#stepPx - this.element.scrollLeft;
  }

  #fill(context, color, left, top, width, height) {
    context.fillStyle = RollView.palette[color];
    context.fillRect(left, top, width, height);
  }

  #write(context, text, left, middle, align) {
    context.fillStyle = RollView.palette.muted;
    context.textAlign = align;
    context.fillText(text, left, middle);
  }

  #drawKeys({ context, last, width }) {
    const plotWidth = Math.min(width, this.#left(Math.min(last, this.roll.numSteps))) - LEFT_PX;
    for (let key = 0; key < NUM_KEYS; key++) {
      const semitone = (key - C1_KEY + 12) % 12, top = keyTop(key);
      if (BLACK_KEYS.has(semitone)) this.#fill(context, "black-key", LEFT_PX, top, plotWidth, KEY_PX);
      if (semitone === 0) {
        this.#fill(context, "octave", LEFT_PX, top + KEY_PX - 1, plotWidth, 1);
        this.#write(context, `C${1 + (key - C1_KEY) / 12}`, LEFT_PX - MARGIN_PX, top + KEY_PX / 2, "right");
      }
    }
  }

  #drawBars({ context, first, last }) {
    const { barLines, numSteps } = this.roll;
    const barPx = this.#stepPx * numSteps / Math.max(barLines.length, 1);
    const interval = 2 ** Math.max(0, Math.ceil(Math.log2(MIN_NUMBER_PX / barPx)));
    const start = Math.max(0, lastNotAbove(barLines, first - MIN_NUMBER_PX / this.#stepPx));
    for (let bar = start; bar < barLines.length && barLines[bar] < last; bar++) {
      const left = Math.round(this.#left(barLines[bar]));
      const isNumbered = bar % interval === 0;
      this.#fill(context, "bar", left, MARGIN_PX, 1, isNumbered ? KEYS_PX + NUMBERS_PX / 2 : KEYS_PX);
      if (isNumbered) this.#write(context, String(bar + 1), left + 4, NUMBERS_TOP_PX + NUMBERS_PX / 2, "left");
    }
  }

  #drawNotes({ context, first, last }) {
    const gap = this.#stepPx > 4 ? 1 : 0; // between a note and the next one on its key
    const onsets = new Path2D(), holds = new Path2D();
    for (const { onset, end, key } of this.roll.notes) {
      if (onset >= last) break;
      if (end <= first) continue;
      const left = this.#left(onset), top = keyTop(key);
      holds.rect(left, top, (end - onset) * this.#stepPx - gap, KEY_PX);
      onsets.rect(left, top, Math.max(this.#stepPx - gap, 1), KEY_PX);
    }
    context.fillStyle = RollView.palette.hold;
    context.fill(holds);
    context.fillStyle = RollView.palette.onset;
    context.fill(onsets);
  }

  /** Draws the tempo as a step function, from the slowest at the bottom to the fastest at the top. */
  #drawTempo({ context, last }) {
    const { tempos, numSteps } = this.roll;
    const { slowest, fastest } = this.#tempoRange();
    const span = fastest - slowest;
    context.beginPath();
    for (const [index, { step, us }] of tempos.entries()) {
      if (step >= last) break;
      const height = span ? (60e6 / us - slowest) / span : 0.5;
      const top = TEMPO_TOP_PX + 1 + (1 - height) * (TEMPO_PX - 2);
      context.lineTo(this.#left(step), top);
      context.lineTo(this.#left(tempos[index + 1]?.step ?? numSteps), top);
    }
    context.strokeStyle = RollView.palette.tempo;
    context.lineWidth = 1.5;
    context.stroke();
  }

  #drawTempoLabels(context) {
    const { slowest, fastest } = this.#tempoRange();
    const label = (bpm) => bpm < 10_000 ? String(Math.round(bpm)) : bpm.toExponential(0);
    const write = (bpm, middle) => this.#write(context, label(bpm), LEFT_PX - MARGIN_PX, middle, "right");
    if (label(slowest) === label(fastest)) {
      write(slowest, TEMPO_TOP_PX + TEMPO_PX / 2);
    } else {
      write(fastest, TEMPO_TOP_PX + 3);
      write(slowest, TEMPO_TOP_PX + TEMPO_PX - 3);
    }
  }

  /** The extremes of the tempo in beats per minute. */
  #tempoRange() {
    const bpm = this.roll.tempos.map(({ us }) => 60e6 / us);
    return { slowest: bpm.reduce((a, b) => Math.min(a, b)), fastest: bpm.reduce((a, b) => Math.max(a, b)) };
  }
}
