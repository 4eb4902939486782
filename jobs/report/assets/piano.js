"use strict";

// A piano: the sound of each key is a sum of decaying partials, computed when the key is first played.

const NUM_KEYS = 88;
const SAMPLE_RATE = 24_000; // of the computed sounds, enough for their partials; the browser resamples them
const MIDDLE_KEY = 39; // C4
const A4_KEY = 48, A4_HZ = 440;
const MAX_PARTIALS = 24, MAX_PARTIAL_HZ = 8_000, MIN_STRENGTH = 0.002;
const AFTERSOUND_PARTIALS = 4;
const HAMMER_POSITION = 1 / 8; // of the string: partials with a node there are not excited
const SOFTNESS_HZ = 2_500; // the felt of the hammer attenuates higher partials
const INAUDIBLE = 7; // time constants until a decay reaches -60 dB
const MAX_STRING_S = 5, FADE_S = 0.3;
const LOUDNESS = 0.25; // root mean square of the first LOUDNESS_S seconds of a key
const LOUDNESS_S = 0.2;
const NOTE_GAIN = 0.45;
const RELEASE_S = 0.07; // time constant of the damper
const ATTACK_S = 0.005; // of a note that playback starts within
const MAX_PAN = 0.4; // of the outermost keys, from 0 in the middle to 1
const LIMITER_KNEE = 0.8; // the limiter is linear below it

/** Adds a sine of frequency `hz` that starts at zero and decays by 1/e in `decayS` seconds. */
function addDecayingSine(samples, hz, amplitude, decayS) {
  const angle = 2 * Math.PI * hz / SAMPLE_RATE;
  const decay = Math.exp(-1 / (decayS * SAMPLE_RATE));
  const length = Math.min(samples.length, Math.ceil(INAUDIBLE * decayS * SAMPLE_RATE));
  const feedback = 2 * decay * Math.cos(angle), feedback2 = -decay * decay;
  let before = 0, now = amplitude * decay * Math.sin(angle);
  for (let i = 1; i < length; i++) {
    samples[i] += now;
    const next = feedback * now + feedback2 * before;
    before = now;
    now = next;
  }
}

/** The sound of a key that is not released, as a mono AudioBuffer. Low keys decay in seconds, high keys in tenths. */
function renderString(key) {
  const pitchHz = A4_HZ * 2 ** ((key - A4_KEY) / 12);
  const decayS = 3.2 * Math.exp(-key / 28);
  const inharmonicity = 0.0003 * 2 ** ((key - MIDDLE_KEY) / 10); // stiffness sharpens the partials, most in the treble
  const samples = new Float32Array(Math.ceil(Math.min(3 * INAUDIBLE * decayS, MAX_STRING_S) * SAMPLE_RATE));
  for (let partial = 1; partial <= MAX_PARTIALS; partial++) {
    const hz = partial * pitchHz * Math.sqrt(1 + inharmonicity * partial ** 2);
    if (partial > 1 && hz > MAX_PARTIAL_HZ) break;
    const strength = Math.abs(Math.sin(Math.PI * partial * HAMMER_POSITION)) / partial * Math.exp(-hz / SOFTNESS_HZ);
    if (strength < MIN_STRENGTH) continue;
    const partialDecayS = decayS / (0.7 + 0.3 * partial);
    // Two strings per key: the second is a little sharp and decays more slowly, as the aftersound of a piano.
    addDecayingSine(samples, hz, 0.8 * strength, partialDecayS);
    if (partial <= AFTERSOUND_PARTIALS) addDecayingSine(samples, 1.0004 * hz, 0.2 * strength, 3 * partialDecayS);
  }
  normalize(samples);
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: SAMPLE_RATE });
  buffer.copyToChannel(samples, 0);
  return buffer;
}

/** Scales samples to equal loudness, and fades their end out. */
function normalize(samples) {
  const start = samples.subarray(0, Math.ceil(LOUDNESS_S * SAMPLE_RATE));
  const power = start.reduce((sum, sample) => sum + sample ** 2, 0) / start.length;
  const gain = LOUDNESS / Math.sqrt(power);
  const fadeLength = FADE_S * SAMPLE_RATE;
  for (let i = 0; i < samples.length; i++) samples[i] *= gain * Math.min(1, (samples.length - i) / fadeLength);
}

/** The curve of a WaveShaperNode whose output stays between -1 and 1 at any input. */
function limiterCurve() {
  const range = 1 - LIMITER_KNEE;
  return Float32Array.from({ length: 4_097 }, (_, i) => {
    const input = i / 2_048 - 1, size = Math.abs(input);
    return size < LIMITER_KNEE ? input : Math.sign(input) * (LIMITER_KNEE + range * Math.tanh((size - LIMITER_KNEE) / range));
  });
}

/** A piano in an AudioContext or an OfflineAudioContext. */
class Piano {
  #strings = new Map(); // for each key that was played, the buffer of its sound and the node that places it

  constructor(context) {
    this.context = context;
    this.volume = new GainNode(context);
    this.input = new DynamicsCompressorNode(context, { threshold: -18, knee: 12, ratio: 8, attack: 0.002, release: 0.2 });
    const limiter = new WaveShaperNode(context, { curve: limiterCurve() });
    this.input.connect(limiter).connect(this.volume).connect(context.destination);
  }

  /** Computes the sounds of keys, which takes about 10 ms for each key that was not played before. */
  prepare(keys) {
    for (const key of keys) this.#string(key);
  }

  /**
   * Schedules a note from `start` to `end`, in seconds of the context, and leaves out its first `skippedS` seconds.
   * Returns the nodes: `source`, which fires "ended", and `damper`.
   */
  play(key, start, end, skippedS) {
    const { buffer, place } = this.#string(key);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    const damper = new GainNode(this.context, { gain: NOTE_GAIN });
    if (skippedS > 0) damper.gain.setValueAtTime(0, start).linearRampToValueAtTime(NOTE_GAIN, start + ATTACK_S);
    source.connect(damper).connect(place);
    source.start(start, skippedS);
    release({ source, damper }, end, RELEASE_S);
    return { source, damper };
  }

  #string(key) {
    if (!this.#strings.has(key)) {
      const place = new StereoPannerNode(this.context, { pan: MAX_PAN * (2 * key / (NUM_KEYS - 1) - 1) });
      place.connect(this.input);
      this.#strings.set(key, { buffer: renderString(key), place });
    }
    return this.#strings.get(key);
  }
}

/** Ends a note at a time of the context, with the time constant `decayS`; a note that has not begun is cancelled. */
function release({ source, damper }, time, decayS) {
  damper.gain.setTargetAtTime(0, time, decayS);
  source.stop(time + INAUDIBLE * decayS);
}
