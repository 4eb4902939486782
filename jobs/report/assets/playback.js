"use strict";

const STOP_S = 0.01; // time constant of the fade when playback stops

/** The notes of a roll on a piano, from `from` seconds of the roll on; these sound at `startTime` seconds of the context. */
class Playback {
  #piano;
  #roll;
  #sounding = new Set(); // notes that are scheduled and have not ended
  #numScheduled = 0;

  constructor(piano, roll, from, startTime) {
    this.#piano = piano;
    this.#roll = roll;
    this.from = from;
    this.startTime = startTime;
  }

  get endTime() {
    return this.startTime + this.#roll.duration - this.from;
  }

  /** The seconds of the roll that sound now. */
  get position() {
    const played = Math.max(0, this.#piano.context.currentTime - this.startTime);
    return Math.min(this.from + played, this.#roll.duration);
  }

  /** Schedules the notes that begin before `time` in seconds of the context, unless they are scheduled already. */
  schedule(time) {
    const { notes, times } = this.#roll;
    for (; this.#numScheduled < notes.length; this.#numScheduled++) {
      const { onset, end, key } = notes[this.#numScheduled];
      const start = Math.max(times[onset], this.from);
      if (this.#contextTime(start) >= time) return;
      if (times[end] > start) this.#play(key, start, times[end], start - times[onset]);
    }
  }

  /** Fades the notes that sound out and cancels those that are scheduled. */
  stop() {
    const now = this.#piano.context.currentTime;
    for (const note of this.#sounding) release(note, now, STOP_S);
  }

  #play(key, start, end, skippedS) {
    const note = this.#piano.play(key, this.#contextTime(start), this.#contextTime(end), skippedS);
    this.#sounding.add(note);
    note.source.addEventListener("ended", () => this.#sounding.delete(note));
  }

  #contextTime(seconds) {
    return this.startTime + seconds - this.from;
  }
}
