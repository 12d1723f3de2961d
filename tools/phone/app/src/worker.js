// The networks, beside the page, which stays quick. A message { id, ask, given } is answered by { id, answer } or
// { id, error }.

import { loadDetector } from "./detector.js";
import { decoded, pixels } from "./picture.js";
import { texts } from "./texts.js";

const SHOWN_PX = 1600;

let base; // the page's address: a worker that is made of a blob has none of its own
let detector;
let photo; // the last one, that evidence is asked of: { number, picture, faces }

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

  /** Looks at a file that was chosen, later ones having higher numbers; the answer to one that is no picture is null. */
  async photo({ number, file }) {
    const started = performance.now();
    const picture = await decoded(file).catch(() => null);
    if (!picture) return null;
    const faces = await detector.detect(picture);
    if (!(photo?.number > number)) photo = { number, picture, faces };
    return { ...told(picture, faces, started), shown: await small(picture) };
  },

  /** Looks at a frame of the camera, for the large faces alone. */
  async frame(bitmap) {
    const started = performance.now();
    const picture = pixels(bitmap);
    return told(picture, await detector.detect(picture, { smallFaces: false }), started);
  },

  /** Says where the network looked in a face of the last photo, by its place among its faces. */
  async evidence({ number, place }) {
    if (photo?.number !== number) throw new Error("another photo was chosen");
    return detector.evidence(photo.picture, photo.faces[place]);
  },
};

function told(picture, faces, started) {
  return { faces: faces.map((face) => shared(picture, face)), latencyMs: performance.now() - started };
}

/** A face with its box, and the square that is scored before it is turned, in shares of the picture's sides. */
function shared(picture, face) {
  const { pFake, verdict, doubt, roll } = face, { centreX, centreY, side } = detector.shownSquare(picture, face), half = side / 2;
  const shares = (edges) => edges.map((edge, place) => edge / (place % 2 ? picture.height : picture.width));
  const square = shares([centreX - half, centreY - half, centreX + half, centreY + half]);
  return { box: shares(face.box), square, roll, pFake, verdict, doubt };
}

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
