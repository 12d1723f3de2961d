// What the page's own code makes of the golden pictures, step by step, for test_engines.py.

import { loadDetector } from "./src/detector.js";
import { decoded } from "./src/picture.js";

const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
const loaded = loadDetector((name) => bytes(`bundle/${name}`), "litert/litert.js");

/** Returns what is found in a picture file, and the sha256 and the score of the crops of faces, { box, roll } each. */
window.look = async (file, faces) => {
  const detector = await loaded;
  const picture = await decoded(await (await fetch(`pictures/${file}`)).blob());
  const crops = [];
  for (const face of faces) {
    const crop = detector.crop(picture, face);
    crops.push({ sha256: await sha256(crop), pFake: await detector.score(crop) });
  }
  const { width, height, data } = picture;
  const colours = data.filter((_, at) => at % 4 !== 3);
  return { width, height, sha256: await sha256(colours), faces: await detector.detect(picture), crops };
};

const sha256 = async (content) =>
  Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", content)), (byte) => byte.toString(16).padStart(2, "0")).join("");
