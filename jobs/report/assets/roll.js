"use strict";

// The notes, tempos and bars of a piano roll. pianogen/roll_text.py writes the text and describes its format.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const DIGIT_VALUES = new Uint8Array(128);
[...DIGITS].forEach((digit, value) => { DIGIT_VALUES[digit.charCodeAt(0)] = value; });

/** A function that returns the next number of the text at each call. */
function numberReader(text) {
  let position = 0;
  return () => {
    let number = 0;
    for (let shift = 0; ; shift += 5) {
      const digit = DIGIT_VALUES[text.charCodeAt(position++)];
      number |= (digit & 31) << shift;
      if (digit < 32) return number;
    }
  };
}

/** The index of the last value that is not larger than the target; -1 if all are larger. The values are sorted. */
function lastNotAbove(values, target) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= target) low = middle + 1; else high = middle;
  }
  return low - 1;
}

/**
 * A piano roll. `notes` are {onset, end, key} in steps, in order of onset; `tempos` are {step, us} with microseconds per quarter
 * note; `barLines` are steps; `times` are the seconds at which each step starts, and at which the last one ends.
 */
class Roll {
  constructor(text) {
    const next = numberReader(text);
    const readList = (readEntry) => Array.from({ length: next() }, readEntry);
    let onset = 0, key = 0, tempoStep = 0, barLine = 0;
    this.numSteps = next();
    this.stepsPerQuarter = next();
    this.notes = readList(() => {
      onset += next();
      const end = onset + next();
      const zigzag = next();
      key += zigzag & 1 ? -(zigzag + 1) / 2 : zigzag / 2;
      return { onset, end, key };
    });
    this.tempos = readList(() => ({ step: tempoStep += next(), us: next() }));
    this.barLines = readList(() => barLine += next());
    this.times = this.#stepTimes();
  }

  get duration() {
    return this.times[this.numSteps];
  }

  /** The step at a time in seconds, with its fraction. */
  stepAt(seconds) {
    const step = Math.min(Math.max(lastNotAbove(this.times, seconds), 0), this.numSteps - 1);
    const fraction = (seconds - this.times[step]) / (this.times[step + 1] - this.times[step]);
    return step + Math.min(Math.max(fraction, 0), 1);
  }

  /** The seconds at a step, which may have a fraction. */
  timeAt(step) {
    const whole = Math.min(Math.max(Math.floor(step), 0), this.numSteps - 1);
    const fraction = Math.min(Math.max(step - whole, 0), 1);
    return this.times[whole] + fraction * (this.times[whole + 1] - this.times[whole]);
  }

  #stepTimes() {
    const times = new Float64Array(this.numSteps + 1);
    this.tempos.forEach(({ step, us }, index) => {
      const end = this.tempos[index + 1]?.step ?? this.numSteps;
      const seconds = us / 1e6 / this.stepsPerQuarter;
      for (let i = step; i < end; i++) times[i + 1] = times[i] + seconds;
    });
    return times;
  }
}
