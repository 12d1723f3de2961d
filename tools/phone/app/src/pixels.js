// Pixels as edge/faces.py makes them with OpenCV, to the bit: positions are rounded to 1/32 of a pixel, and weights are
// whole numbers. A picture is { width, height, data }, data being its RGBA bytes as ImageData has them.

const PARTS = 32;
const FINDER_PX = 128;

/** Returns the finder's input, 128 x 128 x 3 float32 in -1..1: the whole picture in the middle of a black square. */
export function letterbox(picture) {
  const [a, b, c, d, e, f, g, h, i] = fromLetterbox(picture.width, picture.height);
  const input = new Float32Array(FINDER_PX * FINDER_PX * 3);
  const sample = new Uint8Array(3);
  for (let y = 0, at = 0; y < FINDER_PX; y++) {
    for (let x = 0; x < FINDER_PX; x++, at += 3) {
      // In two steps, as OpenCV does, for the rounding: from the start of a block of 64, then within it.
      const start = x & 64, within = x & 63;
      const scale = PARTS / (g * start + h * y + i + g * within);
      const u = roundHalfToEven((a * start + b * y + c + a * within) * scale);
      const v = roundHalfToEven((d * start + e * y + f + d * within) * scale);
      bilinear(picture, u, v, sample, 0);
      for (let channel = 0; channel < 3; channel++) input[at + channel] = sample[channel] / 127.5 - 1;
    }
  }
  return input;
}

/** Returns where a letterboxed point lies in the picture, as a function of both coordinates. */
export function outOfLetterbox({ width, height }) {
  const side = Math.max(width, height);
  const scale = FINDER_PX / side;
  const [left, top] = [(FINDER_PX - width * scale) / 2, (FINDER_PX - height * scale) / 2];
  return (x, y) => [(x - left) / scale, (y - top) / scale];
}

/** Returns the square that is cut around a face box: its left and top edge and its side; it lies within the picture. */
export function faceSquare({ width, height }, [xMin, yMin, xMax, yMax], marginRatio) {
  const side = Math.min(marginRatio * Math.max(xMax - xMin, yMax - yMin), height, width);
  const centreX = Math.min(Math.max((xMin + xMax) / 2, side / 2), width - side / 2);
  const centreY = Math.min(Math.max((yMin + yMax) / 2, side / 2), height - side / 2);
  return { left: centreX - side / 2, top: centreY - side / 2, side, centreX, centreY };
}

/** Returns the square around a face box as RGB bytes, sizePx x sizePx x 3. */
export function cropFace(picture, box, sizePx, marginRatio) {
  const { centreX, centreY, side } = faceSquare(picture, box, marginRatio);
  const pitch = Math.max(side, 1) / sizePx; // picture pixels for one of the crop
  const block = Math.max(1, Math.floor(pitch));
  const left = centreX - (pitch * sizePx) / 2, top = centreY - (pitch * sizePx) / 2;
  // The blocks that the square touches, and one more on each side for the interpolation.
  const firstX = Math.floor(left / block) - 1, firstY = Math.floor(top / block) - 1;
  const patch = blocks(picture, firstX, firstY, Math.ceil((pitch * sizePx) / block) + 3, block);
  // Pixel centres: the crop's i-th lies at left + (i + 1/2) pitch, the j-th block's at (j + 1/2) block.
  const step = pitch / block;
  const startX = (left + pitch / 2) / block - 0.5 - firstX, startY = (top + pitch / 2) / block - 0.5 - firstY;
  const crop = new Uint8Array(sizePx * sizePx * 3);
  // As warpAffine rounds: to 1/1024, of x both summands by themselves, then to 1/32.
  const left1024 = roundHalfToEven(startX * 1024) + 16;
  for (let y = 0, at = 0; y < sizePx; y++) {
    const v = (roundHalfToEven((step * y + startY) * 1024) + 16) >> 5;
    for (let x = 0; x < sizePx; x++, at += 3) {
      bilinear(patch, (left1024 + roundHalfToEven(step * x * 1024)) >> 5, v, crop, at);
    }
  }
  return crop;
}

/** Averages blocks of block x block pixels, mirrored beyond the picture's edge, to a picture of count x count of them. */
function blocks(picture, firstX, firstY, count, block) {
  const { width, height, data } = picture;
  const out = { width: count, height: count, data: new Uint8Array(count * count * 4) };
  const columns = Int32Array.from({ length: count * block }, (_, i) => 4 * mirrored(firstX * block + i, width));
  const share = Math.fround(1 / (block * block));
  const sums = new Float64Array(count * 3);
  for (let y = 0, at = 0; y < count; y++) {
    sums.fill(0);
    for (let row = 0; row < block; row++) {
      const start = 4 * width * mirrored((firstY + y) * block + row, height);
      for (let x = 0, from = 0; x < count; x++) {
        for (let column = 0; column < block; column++) {
          const pixel = start + columns[from++];
          sums[3 * x] += data[pixel];
          sums[3 * x + 1] += data[pixel + 1];
          sums[3 * x + 2] += data[pixel + 2];
        }
      }
    }
    for (let x = 0; x < count; x++, at += 4) {
      for (let channel = 0; channel < 3; channel++) {
        const sum = sums[3 * x + channel];
        out.data[at + channel] = block === 2 ? (sum + 2) >> 2 : roundHalfToEven(Math.fround(sum * share));
      }
    }
  }
  return out;
}

/** Writes the pixel at u / 32, v / 32 into out; outside the picture it is black. */
function bilinear({ width, height, data }, u, v, out, at) {
  const x = u >> 5, y = v >> 5, right = u & 31, below = v & 31;
  const weights = [(32 - right) * (32 - below), right * (32 - below), (32 - right) * below, right * below];
  let red = 512, green = 512, blue = 512; // a half, for the rounding
  for (let corner = 0; corner < 4; corner++) {
    const column = x + (corner & 1), row = y + (corner >> 1);
    if (column < 0 || row < 0 || column >= width || row >= height) continue;
    const pixel = 4 * (row * width + column), weight = weights[corner];
    red += weight * data[pixel];
    green += weight * data[pixel + 1];
    blue += weight * data[pixel + 2];
  }
  out[at] = red >> 10;
  out[at + 1] = green >> 10;
  out[at + 2] = blue >> 10;
}

const mirrored = (i, size) => {
  if (size === 1) return 0;
  for (;;) {
    if (i < 0) i = -i;
    else if (i >= size) i = 2 * size - 2 - i;
    else return i;
  }
};

/** Rounds as Python and OpenCV do. */
export function roundHalfToEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

const matrices = new Map();

/** Returns the 3 x 3 matrix from letterboxed to picture coordinates, with the rounding of OpenCV's own way to it. */
function fromLetterbox(width, height) {
  const key = `${width} ${height}`;
  if (!matrices.has(key)) {
    const side = Math.max(width, height), left = (width - side) / 2, top = (height - side) / 2;
    const from = [[left, top + side], [left, top], [left + side, top], [left + side, top + side]];
    const to = [[0, FINDER_PX], [0, 0], [FINDER_PX, 0], [FINDER_PX, FINDER_PX]];
    matrices.set(key, inverse(perspective(from, to)));
  }
  return matrices.get(key);
}

/** Solves for the perspective transform between four points each. */
function perspective(from, to) {
  const rows = [], right = [];
  for (const axis of [0, 1]) {
    from.forEach(([x, y], point) => {
      const target = to[point][axis], own = [x, y, 1], none = [0, 0, 0];
      rows.push([...(axis ? none : own), ...(axis ? own : none), -x * target, -y * target]);
      right.push(target);
    });
  }
  return [...solve(rows, right), 1];
}

/** Solves a linear system by Gaussian elimination with partial pivoting, in place. */
function solve(rows, right) {
  const size = rows.length;
  for (let i = 0; i < size; i++) {
    let pivot = i;
    for (let j = i + 1; j < size; j++) if (Math.abs(rows[j][i]) > Math.abs(rows[pivot][i])) pivot = j;
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    [right[i], right[pivot]] = [right[pivot], right[i]];
    const factor = -1 / rows[i][i];
    for (let j = i + 1; j < size; j++) {
      const alpha = rows[j][i] * factor;
      for (let k = i + 1; k < size; k++) rows[j][k] += alpha * rows[i][k];
      right[j] += alpha * right[i];
    }
  }
  for (let i = size - 1; i >= 0; i--) {
    for (let k = i + 1; k < size; k++) right[i] -= rows[i][k] * right[k];
    right[i] /= rows[i][i];
  }
  return right;
}

function inverse([a, b, c, d, e, f, g, h, i]) {
  const scale = 1 / (a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g));
  return [
    (e * i - f * h) * scale, (c * h - b * i) * scale, (b * f - c * e) * scale,
    (f * g - d * i) * scale, (a * i - c * g) * scale, (c * d - a * f) * scale,
    (d * h - e * g) * scale, (b * g - a * h) * scale, (a * e - b * d) * scale,
  ];
}
