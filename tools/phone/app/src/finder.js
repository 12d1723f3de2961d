// Every face in a picture, as edge/finder.py finds them: the large ones at once, then closer looks for the small, the turned
// and the doubtful. Why the numbers are what they are stands there.

import { area, centreOf, isFrontal, rollOf, sharedArea, sizeOf } from "./faces.js";
import { letterbox, PATCH_PX, placed, roundHalfToEven } from "./pixels.js";

/** The score from which on detect must give everything. */
export const HINT_SCORE = 0.2;

const MIN_SCORE = 0.5;
const SURE_SCORE = 0.78;
const ALMOST_SURE = SURE_SCORE - Number.EPSILON / 2; // the number before it
const CLEAR_SCORE = 0.85;
const LARGE_SHARE = 0.25;
const CLEAR_SHARE = 0.15, CLEAR_DEGREES = 12;
const MAX_TILT_DEGREES = 60;
const CLOSE_RATIO = 2;
const SEEN_SHARE = 0.07;
const PART_RATIO = 0.57;
const SMALL_SHARE = 0.22;
const MIN_PART_PX = PATCH_PX, MIN_UNPROMPTED_PX = 3.5 * PATCH_PX;
const ASKED = 3;
const MAX_LOOKS = 256, MAX_HINTS = 512;
const SAME_SHARE = 0.5;

/** Tells whether the finder is sure of a face. */
export const isSure = ({ score }) => score >= SURE_SCORE;

/**
 * Resolves to the faces in a picture, the surest first; those that are not sure may not be faces. detect resolves to the
 * faces in a patch, as blazeface.js has them. smallestPx is the smallest face that matters, null to search for none that
 * the whole picture does not show.
 */
export async function findFaces(detect, picture, smallestPx) {
  const search = (roll, px) => new Search(detect, picture, roll, px).faces();
  const faces = await search(0, smallestPx);
  if (smallestPx !== null && (await new Search(detect, picture, 0, smallestPx).isUpsideDown(faces))) {
    const turnedOver = await search(180, smallestPx);
    if (sumOfSureScores(turnedOver) > sumOfSureScores(faces)) return turnedOver;
  }
  let best = { roll: 0, score: bestOf(faces, 0) };
  if (best.score >= CLEAR_SCORE) return faces;
  for (const roll of [90, -90, 180]) {
    const score = bestOf((await search(roll, null)).filter((face) => showsTurn(face, picture)), roll);
    if (score > best.score) best = { roll, score };
  }
  return best.roll ? search(best.roll, smallestPx) : faces;
}

/** Tells whether a face is believed though it is turned: there are three more chances to see what is none. */
function showsTurn(face, { width, height }) {
  const isLarge = sizeOf(face) >= LARGE_SHARE * Math.max(width, height);
  return isFrontal(face) && face.score >= (isLarge ? SURE_SCORE : CLEAR_SCORE);
}

/** One search of a picture that is taken to be turned clockwise by some degrees. */
class Search {
  #detect;
  #picture;
  #smallestPx;
  #whole;
  #looks = 0;

  constructor(detect, picture, roll, smallestPx) {
    [this.#detect, this.#picture, this.#smallestPx] = [detect, picture, smallestPx];
    const { width, height } = picture;
    this.#whole = { centreX: width / 2, centreY: height / 2, side: Math.max(width, height), roll };
  }

  async faces() {
    const seen = await this.#seen(), closest = [];
    for (const face of distinct([...seen.keys()])) closest.push(await this.#closest(face, seen.get(face)));
    return distinct(closest.filter(Boolean));
  }

  /** Looks at the whole and, where there may be small faces, at ever smaller parts; resolves to what was seen where. */
  async #seen() {
    const seen = new Map(), waiting = [this.#whole];
    while (waiting.length && this.#looks < MAX_LOOKS / 2 && seen.size < MAX_HINTS) {
      const square = waiting.shift();
      const clear = [...seen.keys()].filter(({ score }) => score >= CLEAR_SCORE); // what is seen in these is a part of them
      const isNew = (face) => (square === this.#whole || shows(square, face)) && !isKnown(face, clear);
      const faces = (await this.#look(square)).filter(isNew);
      for (const face of faces) seen.set(face, square);
      waiting.push(...this.#partsWorthALook(square, faces));
    }
    return seen;
  }

  #partsWorthALook(square, faces) {
    const side = PART_RATIO * square.side;
    if (this.#smallestPx === null || side < MIN_PART_PX) return [];
    const { width, height } = this.#picture;
    const parts = centres(square.centreY, square.side, height, side).flatMap((centreY) =>
      centres(square.centreX, square.side, width, side).map((centreX) => ({ centreX, centreY, side, roll: square.roll })),
    );
    const small = faces.filter((face) => sizeOf(face) < SMALL_SHARE * square.side);
    const mayHaveMissed = this.#smallestPx < SEEN_SHARE * square.side;
    const isGroup = distinct(small).length > 1;
    if (isGroup || (mayHaveMissed && (square === this.#whole || side >= MIN_UNPROMPTED_PX))) return parts;
    const unclear = small.filter((face) => !isClear(face, square));
    return parts.filter((part) => unclear.some((face) => shows(part, face)));
  }

  /** Resolves to a face as a closer, upright look shows it, or null if it is not worth reporting. */
  async #closest(face, square) {
    if (isClear(face, square)) return face;
    let known = face;
    for (let look = 0; look < 2; look++) { // the first look at a face on its side shows it half turned
      const close = closer(known, 0);
      [known] = await this.#same(face, close);
      if (!known || known.score < MIN_SCORE) break;
      const isLevel = tiltOf(known, close.roll) <= MAX_TILT_DEGREES / 2;
      const isTurned = tiltOf(known, square.roll) > MAX_TILT_DEGREES;
      if (isSure(known) && isLevel && (!isTurned || showsTurn(known, this.#picture))) return known;
    }
    if (square !== this.#whole || face.score < MIN_SCORE) return null;
    known ??= face;
    return { ...known, score: Math.min(Math.max(face.score, known.score), ALMOST_SURE) };
  }

  /** Resolves to whether most of the surest small faces that seem upright are surer upside down. */
  async isUpsideDown(faces) {
    const upright = faces.filter((face) => isSure(face) && isFrontal(face) && tiltOf(face, 0) <= MAX_TILT_DEGREES);
    if (upright.some((face) => isClear(face, this.#whole))) return false;
    const asked = upright.filter((face) => sizeOf(face) >= (this.#smallestPx ?? 0)).slice(0, ASKED);
    let surer = 0;
    for (const face of asked) {
      const [turned] = await this.#same(face, closer(face, 180));
      if (turned?.score > face.score) surer++;
    }
    return 2 * surer > asked.length;
  }

  /** Resolves to what a look at a square shows of a face, the surest first. */
  async #same(face, square) {
    return (await this.#look(square)).filter((again) => isSame(again, face));
  }

  async #look(square) {
    if (this.#looks >= MAX_LOOKS || square.side < 1) return [];
    this.#looks++;
    return (await this.#detect(letterbox(this.#picture, square))).map((face) => inPicture(face, square));
  }
}

/** Returns a face of a square in the picture: its box keeps its size, and is not turned. */
function inPicture(face, square) {
  const scale = square.side / PATCH_PX;
  const [first, second, ...points] = face.points.map(([x, y]) => [x * scale, y * scale]);
  const [halfX, halfY] = [0, 1].map((axis) => (second[axis] - first[axis]) / 2);
  const [x, y] = placed(square, ...[0, 1].map((axis) => (first[axis] + second[axis]) / 2));
  const box = [x - halfX, y - halfY, x + halfX, y + halfY];
  return { box, score: face.score, points: points.map((point) => placed(square, ...point)) };
}

/** Returns the square of a closer look at a face, turned further if need be. */
function closer(face, turned) {
  // In whole pixels and degrees: runtimes differ in the last digits, and a look must not depend on them.
  const numbers = [...centreOf(face), CLOSE_RATIO * sizeOf(face), rollOf(face) + turned].map(roundHalfToEven);
  const [centreX, centreY, side, roll] = numbers;
  return { centreX, centreY, side, roll };
}

/** Tells whether a face seen in a square needs no closer look. */
function isClear(face, { side, roll }) {
  return face.score >= CLEAR_SCORE && sizeOf(face) >= CLEAR_SHARE * side && tiltOf(face, roll) <= CLEAR_DEGREES;
}

/** Returns by how many degrees a face is turned from a direction, 0..180. */
function tiltOf(face, roll) {
  const degrees = Math.abs(rollOf(face) - roll) % 360;
  return Math.min(degrees, 360 - degrees);
}

/** Returns, along one side of the picture, the centres of the parts that cover what a square shows of it. */
function centres(middle, sidePx, picturePx, partPx) {
  const first = Math.max(0, middle - sidePx / 2), last = Math.min(picturePx, middle + sidePx / 2);
  return last - first <= partPx ? [(first + last) / 2] : [first + partPx / 2, last - partPx / 2];
}

/** Returns the faces, the surest first, less those that lie in a surer one or around it. */
function distinct(faces) {
  const found = [];
  for (const face of faces.sort((one, other) => other.score - one.score)) {
    if (!isKnown(face, found)) found.push(face);
  }
  return found;
}

const sumOfSureScores = (faces) => faces.filter(isSure).reduce((sum, { score }) => sum + score, 0);

/** Returns the best score of the frontal faces that are about as turned. */
function bestOf(faces, roll) {
  const upright = faces.filter((face) => isFrontal(face) && tiltOf(face, roll) <= MAX_TILT_DEGREES);
  return Math.max(0, ...upright.map(({ score }) => score));
}

/** Tells whether a square, turned by quarters, shows a face as a whole: half a face at a seam is another's. */
function shows({ centreX, centreY, side }, face) {
  const [x, y] = centreOf(face), reach = side / 2 - 0.45 * sizeOf(face);
  return Math.abs(x - centreX) <= reach && Math.abs(y - centreY) <= reach;
}

const isKnown = (face, faces) => faces.some((known) => isSame(face, known));

const isSame = (one, other) =>
  sharedArea(one.box, other.box) > SAME_SHARE * Math.min(area(one.box), area(other.box));
