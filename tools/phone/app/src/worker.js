// The networks, beside the page, which stays quick. A message { id, ask, given } is answered by { id, answer } or
// { id, error }.

import { loadDetector } from "./detector.js";
import { decoded, pixels } from "./picture.js";

let detector;
let last; // the picture that evidence is asked of

const asks = {
  async load() {
    detector = await loadDetector(fetchFile, new URL("litert/litert.js", location).pathname);
    const { name, version, license, thresholds, explain } = detector.manifest;
    return { name, version, license, thresholds, hasExplain: Boolean(explain) };
  },

  async choosePrecision() {
    await detector.choosePrecision();
    return detector.precision;
  },

  /** Looks at a file that was chosen; the answer to one that is no picture is null. */
  async photo(blob) {
    const started = performance.now();
    const picture = await decoded(blob).catch(() => null);
    if (!picture) return null;
    last = picture;
    const faces = await detector.detect(last);
    return { faces: faces.map(shared), latencyMs: performance.now() - started };
  },

  /** Looks at a frame of the camera. */
  async frame(bitmap) {
    const started = performance.now();
    last = pixels(bitmap);
    const faces = await detector.detect(last);
    return { faces: faces.map(shared), latencyMs: performance.now() - started };
  },

  /** Says where the network looked in a face of the last picture; box is a share of its sides. */
  async evidence(box) {
    return detector.evidence(last, scaled(box, last.width, last.height));
  },
};

/** A face with its box, and the square that is looked at, in shares of the picture's sides, so that both fit any size. */
function shared(face) {
  const { left, top, side } = detector.square(last, face.box), [x, y] = [1 / last.width, 1 / last.height];
  return { ...face, box: scaled(face.box, x, y), square: [left * x, top * y, side * x, side * y] };
}

const scaled = ([xMin, yMin, xMax, yMax], x, y) => [xMin * x, yMin * y, xMax * x, yMax * y];

async function fetchFile(name) {
  const answer = await fetch(new URL(`bundle/${name}`, location));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

onmessage = async ({ data: { id, ask, given } }) => {
  try {
    postMessage({ id, answer: await asks[ask](given) });
  } catch (error) {
    postMessage({ id, error: error?.message ?? String(error) });
  }
};
