// What the box and the points of a face say of it, as edge/faces.py has them. A face is { box, score, points }: xMin, yMin,
// xMax, yMax and [x, y] each, in pixels of the picture; right eye (the person's), left eye, nose, mouth, both ears.

const MIN_EYE_DISTANCE = 0.28; // of the box's longer side
const MAX_NOSE_SHIFT = 0.6; // of the eyes' distance, from the middle between them
const MIN_MOUTH_DROP = 0.34; // of the box's longer side, below the eyes

export const centreOf = ({ box: [xMin, yMin, xMax, yMax] }) => [(xMin + xMax) / 2, (yMin + yMax) / 2];

export const sizeOf = ({ box: [xMin, yMin, xMax, yMax] }) => Math.max(xMax - xMin, yMax - yMin);

/** Returns how far the line of the eyes is turned from level, in degrees, clockwise as seen; 0 without points. */
export function rollOf({ points: [right, left] }) {
  return right ? Math.atan2(left[1] - right[1], left[0] - right[0]) * (180 / Math.PI) : 0;
}

/** Tells whether eyes, nose and mouth lie as in a face that looks at the camera; profiles and hidden faces do not. */
export function isFrontal(face) {
  if (!face.points.length) return true;
  const angle = -rollOf(face) * (Math.PI / 180), [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [right, left, nose, mouth] = face.points;
  const [x, y] = [0, 1].map((axis) => (right[axis] + left[axis]) / 2), size = Math.max(sizeOf(face), 1e-9);
  const upright = (point) => {
    const [dx, dy] = [point[0] - x, point[1] - y];
    return [(cos * dx - sin * dy) / size, (sin * dx + cos * dy) / size];
  };
  const eyes = upright(left)[0] - upright(right)[0], [noseX, noseY] = upright(nose), [, mouthY] = upright(mouth);
  const fits = 0 < noseY && noseY < mouthY && mouthY >= MIN_MOUTH_DROP;
  return eyes >= MIN_EYE_DISTANCE && Math.abs(noseX) <= MAX_NOSE_SHIFT * eyes && fits;
}

/** Returns the intersection of two boxes over their union. */
export function overlap(one, other) {
  const shared = sharedArea(one, other);
  return shared / Math.max(area(one) + area(other) - shared, 1e-9);
}

export const sharedArea = (one, other) => area(one.map((edge, side) => Math[side < 2 ? "max" : "min"](edge, other[side])));

export const area = ([xMin, yMin, xMax, yMax]) => Math.max(xMax - xMin, 0) * Math.max(yMax - yMin, 0);
