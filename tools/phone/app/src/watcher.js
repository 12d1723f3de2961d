// Verdicts in front of a camera that do not flicker, as edge/live.py and edge/tracks.py give them.

import { overlap } from "./faces.js";

const KEEP = 30; // looks that a face's probability is the mean of
const MIN_LOOKS = 3; // before which nothing but uncertain is said
const STEADY_MS = 1000; // how long a new verdict must hold
const MAX_GAP_MS = 1000; // how long a face may be away
const MISSED_LOOKS = 2.5; // that it may be away for on a machine that needs long for each
const MIN_OVERLAP = 0.2;

export class Watcher {
  #verdict;
  #tracks = [];
  #begun = 0;
  #looked = Infinity;
  #interval = 0;

  /** verdict(pFake) is what a probability means. */
  constructor(verdict) {
    this.#verdict = verdict;
  }

  /**
   * Returns the faces found in a later frame as they are shown: { track, box, pFake, verdict, doubt, isEarly }; those
   * whose verdict may change within the next looks are early.
   */
  look(now, found) {
    const interval = now - this.#looked;
    // As long as looks took before this one: a pause is no slow machine.
    const gap = Math.max(MAX_GAP_MS, MISSED_LOOKS * (this.#interval || interval));
    [this.#looked, this.#interval] = [now, Math.max(interval, 0)];
    this.#tracks = this.#tracks.filter((track) => now - track.seen <= gap);
    const pairs = found.flatMap((face) =>
      this.#tracks.map((track) => ({ face, track, share: overlap(face.box, track.box) })),
    );
    const trackOf = new Map();
    for (const { face, track, share } of pairs.sort((one, other) => other.share - one.share)) {
      if (share >= MIN_OVERLAP && !trackOf.has(face) && ![...trackOf.values()].includes(track)) trackOf.set(face, track);
    }
    return found.map((face) => {
      const track = trackOf.get(face) ?? this.#begin();
      track.add(now, face, this.#verdict);
      const { number, pFake, verdict, doubt, isEarly } = track;
      return { track: number, box: face.box, pFake, verdict, doubt, isEarly };
    });
  }

  #begin() {
    this.#tracks.push(new Track(++this.#begun));
    return this.#tracks.at(-1);
  }
}

class Track {
  #sightings = [];
  #steady = "uncertain";
  #candidate = "uncertain";
  #since = 0;
  #looks = 0;

  constructor(number) {
    this.number = number;
  }

  /** Null where one of the last looks left no doubt, else what most of them left. */
  get doubt() {
    const doubts = this.#sightings.map(({ doubt }) => doubt);
    const count = (doubt) => doubts.filter((other) => other === doubt).length;
    return doubts.includes(null) ? null : doubts.reduce((most, doubt) => (count(doubt) > count(most) ? doubt : most));
  }

  /** The mean of the middle half of the looks that count: a few odd frames do not move it; null without scores. */
  get pFake() {
    const scores = this.#counted.map(({ pFake }) => pFake).filter((score) => score !== null);
    const cut = Math.floor(scores.length / 4), middle = scores.sort((one, other) => one - other).slice(cut, scores.length - cut);
    return scores.length ? middle.reduce((sum, score) => sum + score, 0) / middle.length : null;
  }

  /** The last looks without doubt, or with the track's. */
  get #counted() {
    const { doubt } = this;
    return this.#sightings.filter((face) => face.doubt === doubt);
  }

  add(now, face, verdict) {
    [this.seen, this.box] = [now, face.box];
    this.#sightings = [...this.#sightings, face].slice(-KEEP);
    const { doubt } = this, isEnough = this.#counted.length >= MIN_LOOKS;
    const said = isEnough && !doubt ? verdict(this.pFake) : "uncertain";
    if (said !== this.#candidate) [this.#candidate, this.#since, this.#looks] = [said, now, 0];
    this.#looks++;
    if (this.#looks >= MIN_LOOKS && now - this.#since >= STEADY_MS) this.#steady = said;
    this.verdict = doubt ? "uncertain" : this.#steady;
    this.isEarly = !isEnough || (!doubt && said !== this.#steady);
  }
}
