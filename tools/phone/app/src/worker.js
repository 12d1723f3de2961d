// The networks, beside the page, which stays quick. A message { id, ask, given } is answered by { id, answer } or
// { id, error }.

import { loadDetector } from "./detector.js";
import { decoded, pixels } from "./picture.js";
import { texts } from "./texts.js";

const SHOWN_PX = 1600;

let base; // the page's address: a worker that is made of a blob has none of its own
let detector;
let photo; // the last one, that evidence is asked of: { number, picture }

const asks = {
  async load(address) {
    base = address;
    detector = await loadDetector(fetchFile, new URL("litert/litert.js", base).href).catch((error) => {
      if (error instanceof NoFile) throw error;
      console.error(error);
      throw new Error(texts.broken);
    });
    const { name, version, license, thresholds, explain } = detector.manifest;
    return { name, version, license, thresholds, hasExplain: Boolean(explain) };
  },

  async choosePrecision() {
    await detector.choosePrecision();
    return detector.precision;
  },

  /** Looks at a file that was chosen, later ones having higher numbers; the answer to one that is no picture is null. */
  async photo({ number, file }) {
    const started = performance.now();
    const picture = await decoded(file).catch(() => null);
    if (!picture) return null;
    if (!(photo?.number > number)) photo = { number, picture };
    return { ...(await looked(picture, started)), shown: await small(picture) };
  },

  /** Looks at a frame of the camera. */
  frame(bitmap) {
    const started = performance.now();
    return looked(pixels(bitmap), started);
  },

  /** Says where the network looked in a face of the last photo; box is a share of its sides. */
  async evidence({ number, box }) {
    if (photo?.number !== number) throw new Error("another photo was chosen");
    const { picture } = photo;
    return detector.evidence(picture, scaled(box, picture.width, picture.height));
  },
};

async function looked(picture, started) {
  const faces = await detector.detect(picture);
  return { faces: faces.map((face) => shared(picture, face)), latencyMs: performance.now() - started };
}

/** A face with its box, and the square that is looked at, in shares of the picture's sides, so that both fit any size. */
function shared(picture, face) {
  const { left, top, side } = detector.square(picture, face.box), [x, y] = [1 / picture.width, 1 / picture.height];
  return { ...face, box: scaled(face.box, x, y), square: [left * x, top * y, side * x, side * y] };
}

const scaled = ([xMin, yMin, xMax, yMax], x, y) => [xMin * x, yMin * y, xMax * x, yMax * y];

/** Returns what was judged as an ImageBitmap no larger than a screen needs. */
function small({ width, height, data }) {
  const scale = Math.min(1, SHOWN_PX / Math.max(width, height));
  const [resizeWidth, resizeHeight] = [width, height].map((side) => Math.max(1, Math.round(scale * side)));
  return createImageBitmap(new ImageData(data, width, height), { resizeWidth, resizeHeight, resizeQuality: "high" });
}

class NoFile extends Error {}

async function fetchFile(name) {
  const answer = await fetch(new URL(`bundle/${name}`, base));
  if (!answer.ok) throw new NoFile(texts.noFile(name, answer.status));
  return new Uint8Array(await answer.arrayBuffer());
}

onmessage = async ({ data: { id, ask, given } }) => {
  try {
    const answer = await asks[ask](given);
    postMessage({ id, answer }, answer?.shown ? [answer.shown] : []);
  } catch (error) {
    postMessage({ id, error: error?.message ?? String(error) });
  }
};
