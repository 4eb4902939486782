"use strict";

const LOOKAHEAD_S = 1.5; // timers of a hidden page fire once per second
const TICK_MS = 100;
const START_DELAY_S = 0.05; // for the first notes to be scheduled
const PAUSE_BETWEEN_S = 1; // between two samples

/**
 * Plays one track at a time: an object with a `roll`. `onChange(state)` is called after each change of the state or the
 * position by a command, with "playing", "paused" or "stopped".
 */
class Player {
  #onChange;
  #piano = null; // browsers allow sound only after the user's first action
  #playback = null;
  #pausedAt = 0; // seconds of the roll
  #playlist = []; // the track after the current one is next
  #volume = 1;
  #timer = 0;

  constructor(onChange) {
    this.#onChange = onChange;
    this.track = null;
  }

  get isPlaying() {
    return this.#playback !== null;
  }

  /** The seconds of the roll of the track. */
  get position() {
    return this.#playback ? this.#playback.position : this.#pausedAt;
  }

  set volume(volume) {
    this.#volume = volume;
    this.#piano?.volume.gain.setTargetAtTime(volume, this.#piano.context.currentTime, STOP_S);
  }

  /** Plays a track from its start, or the current track from its position if that is not its end. */
  play(track) {
    const isResumed = track === this.track && this.position < track.roll.duration;
    if (track !== this.track) this.#playlist = [];
    this.#start(track, isResumed ? this.position : 0);
  }

  /** Plays tracks one after another; silent ones are skipped. */
  playAll(tracks) {
    this.#playlist = tracks;
    const first = this.#nextFrom(0);
    if (first) this.#start(first, 0);
  }

  pause() {
    this.#end(this.position);
    this.#onChange("paused");
  }

  stop() {
    this.#playlist = [];
    this.#end(0);
    this.#onChange("stopped");
  }

  /** Moves to a position of a track, which continues to play if the player does. */
  seek(track, seconds) {
    const position = Math.min(Math.max(seconds, 0), track.roll.duration);
    if (this.isPlaying) {
      this.#start(track, position);
    } else {
      this.track = track;
      this.#pausedAt = position;
      this.#onChange("paused");
    }
  }

  #start(track, position) {
    this.#piano ??= this.#createPiano();
    const { context } = this.#piano;
    context.resume();
    this.#end(0);
    this.track = track;
    this.#piano.prepare(new Set(track.roll.notes.map(({ key }) => key)));
    this.#playback = new Playback(this.#piano, track.roll, position, context.currentTime + START_DELAY_S);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
    this.#onChange("playing");
  }

  #createPiano() {
    const piano = new Piano(new AudioContext());
    piano.volume.gain.value = this.#volume;
    return piano;
  }

  #end(position) {
    clearInterval(this.#timer);
    this.#playback?.stop();
    this.#playback = null;
    this.#pausedAt = position;
  }

  #tick() {
    const now = this.#piano.context.currentTime;
    this.#playback.schedule(now + LOOKAHEAD_S);
    if (now <= this.#playback.endTime) return;
    const next = this.#nextFrom(this.#playlist.indexOf(this.track) + 1);
    if (!next) this.stop();
    else if (now > this.#playback.endTime + PAUSE_BETWEEN_S) this.#start(next, 0);
  }

  #nextFrom(index) {
    return this.#playlist.slice(index).find((track) => track.roll.notes.length > 0);
  }
}
