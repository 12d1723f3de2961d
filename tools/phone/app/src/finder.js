// Faces out of what BlazeFace gives: anchors, boxes and scores, merged where they overlap, as MediaPipe and edge/faces.py do.

import { outOfLetterbox } from "./pixels.js";

const SIDE_PX = 128;
const GRIDS = [[16, 2], [8, 6]]; // cells a side, anchors a cell
const SCORE_LIMIT = 80;
const MIN_OVERLAP = 0.3;

const ANCHORS = GRIDS.flatMap(([cells, anchors]) =>
  Array.from({ length: cells * cells * anchors }, (_, row) => {
    const cell = Math.floor(row / anchors);
    return [((cell % cells) + 0.5) * (SIDE_PX / cells), (Math.floor(cell / cells) + 0.5) * (SIDE_PX / cells)];
  }),
);

/** Returns the faces in a picture as { box: [xMin, yMin, xMax, yMax], score }, best first, of the finder's two outputs. */
export function facesOf(regressors, logits, picture, minScore) {
  const candidates = [];
  ANCHORS.forEach(([anchorX, anchorY], row) => {
    const score = 1 / (1 + Math.exp(-Math.min(Math.max(logits[row], -SCORE_LIMIT), SCORE_LIMIT)));
    if (score < minScore) return;
    const [x, y, width, height] = regressors.subarray(16 * row, 16 * row + 4);
    const [centreX, centreY] = [x + anchorX, y + anchorY];
    const box = [centreX - width / 2, centreY - height / 2, centreX + width / 2, centreY + height / 2];
    candidates.push({ box, score });
  });
  const place = outOfLetterbox(picture);
  return merged(candidates).map(({ box, score }) => ({
    box: [...place(box[0], box[1]), ...place(box[2], box[3])],
    score,
  }));
}

/** Merges overlapping boxes into their mean, weighted by score. */
function merged(candidates) {
  let left = [...candidates].sort((one, other) => other.score - one.score);
  const faces = [];
  while (left.length) {
    const best = left[0];
    // A box without area overlaps nothing, not even itself.
    const same = left.filter((other) => other === best || overlap(best.box, other.box) > MIN_OVERLAP);
    left = left.filter((other) => !same.includes(other));
    const weight = same.reduce((sum, { score }) => sum + score, 0);
    const box = best.box.map((_, side) => same.reduce((sum, one) => sum + one.box[side] * one.score, 0) / weight);
    faces.push({ box, score: best.score });
  }
  return faces;
}

/** Returns the intersection of two boxes over their union. */
export function overlap(one, other) {
  const corners = [...[0, 1].map((i) => Math.max(one[i], other[i])), ...[2, 3].map((i) => Math.min(one[i], other[i]))];
  const shared = area(corners);
  return shared / Math.max(area(one) + area(other) - shared, 1e-9);
}

const area = ([xMin, yMin, xMax, yMax]) => Math.max(xMax - xMin, 0) * Math.max(yMax - yMin, 0);
