// BlazeFace's outputs as faces, decoded and merged as edge/blazeface.py does. A face here is { points, score }: two corners
// of its box and six points of it, [x, y] each, in pixels of the patch.

import { overlap } from "./faces.js";
import { PATCH_PX } from "./pixels.js";

const GRIDS = [[16, 2], [8, 6]]; // cells a side, anchors a cell
const SCORE_LIMIT = 80;
const MIN_OVERLAP = 0.3;

const ANCHORS = GRIDS.flatMap(([cells, anchors]) =>
  Array.from({ length: cells * cells * anchors }, (_, row) => {
    const cell = Math.floor(row / anchors);
    return [((cell % cells) + 0.5) * (PATCH_PX / cells), (Math.floor(cell / cells) + 0.5) * (PATCH_PX / cells)];
  }),
);

/** Returns BlazeFace's input for a patch of RGB bytes. */
export const inputOf = (patch) => new Float32Array(patch).map((level) => Math.fround(level / 127.5) - 1);

/** Returns the faces with a score of minScore or more in BlazeFace's two outputs, best first. */
export function facesOf(regressors, logits, minScore) {
  const candidates = [];
  ANCHORS.forEach((anchor, row) => {
    const score = 1 / (1 + Math.exp(-Math.min(Math.max(logits[row], -SCORE_LIMIT), SCORE_LIMIT)));
    if (!(score >= minScore)) return; // nor NaN
    const pairs = Array.from({ length: 8 }, (_, pair) => regressors.subarray(16 * row + 2 * pair, 16 * row + 2 * pair + 2));
    const [centre, size, ...points] = pairs.map((pair, place) => (place === 1 ? pair : moved(pair, anchor, 1)));
    candidates.push({ points: [moved(centre, size, -0.5), moved(centre, size, 0.5), ...points], score });
  });
  return merged(candidates);
}

const moved = ([x, y], [right, down], factor) => [x + factor * right, y + factor * down];

/** Merges faces whose boxes overlap into their mean, weighted by score. */
function merged(candidates) {
  let left = [...candidates].sort((one, other) => other.score - one.score);
  const faces = [];
  while (left.length) {
    const best = left[0];
    // A box without area overlaps nothing, not even itself.
    const same = left.filter((other) => other === best || overlap(boxOf(best), boxOf(other)) > MIN_OVERLAP);
    left = left.filter((other) => !same.includes(other));
    const weight = same.reduce((sum, { score }) => sum + score, 0);
    const mean = (point, axis) => same.reduce((sum, one) => sum + one.points[point][axis] * one.score, 0) / weight;
    faces.push({ points: best.points.map((_, point) => [mean(point, 0), mean(point, 1)]), score: best.score });
  }
  return faces;
}

const boxOf = ({ points: [first, second] }) => [...first, ...second];
