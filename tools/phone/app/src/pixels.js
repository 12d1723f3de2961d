// Pixels as edge/blazeface.py and edge/cut.py make them with OpenCV, to the bit: positions are rounded to 1/32 of a pixel,
// and weights are whole numbers. A picture is { width, height, data }, data being its RGBA bytes as ImageData has them; a
// square of it is { centreX, centreY, side, roll }, in pixels and degrees, turned clockwise about its centre.

const PARTS = 32;

/** The side of what BlazeFace is shown. */
export const PATCH_PX = 128;

/** Returns where a point, in pixels from a square's own upper left corner, lies in the picture. */
export function placed({ centreX, centreY, side, roll }, x, y) {
  const [cos, sin] = turn(roll), right = x - side / 2, down = y - side / 2;
  return [centreX + cos * right - sin * down, centreY + sin * right + cos * down];
}

/** Returns what BlazeFace is shown of a square of a picture, 128 x 128 x 3 RGB bytes; black beyond the picture. */
export function letterbox(picture, square) {
  const [a, b, c, d, e, f, g, h, i] = fromLetterbox(square);
  const patch = new Uint8Array(PATCH_PX * PATCH_PX * 3);
  for (let y = 0, at = 0; y < PATCH_PX; y++) {
    for (let x = 0; x < PATCH_PX; x++, at += 3) {
      // In two steps, as OpenCV does, for the rounding: from the start of a block of 64, then within it.
      const start = x & 64, within = x & 63;
      const scale = PARTS / (g * start + h * y + i + g * within);
      const u = roundHalfToEven((a * start + b * y + c + a * within) * scale);
      const v = roundHalfToEven((d * start + e * y + f + d * within) * scale);
      bilinear(picture, u, v, patch, at);
    }
  }
  return patch;
}

/** Returns the square that is cut around a face box: moved, and if need be shrunk, into the picture, then turned. */
export function faceSquare({ width, height }, [xMin, yMin, xMax, yMax], marginRatio, roll = 0) {
  const side = Math.min(marginRatio * Math.max(xMax - xMin, yMax - yMin), height, width);
  const centreX = Math.min(Math.max((xMin + xMax) / 2, side / 2), width - side / 2);
  const centreY = Math.min(Math.max((yMin + yMax) / 2, side / 2), height - side / 2);
  return { centreX, centreY, side, roll };
}

/** Returns a square of a picture as RGB bytes, sizePx x sizePx x 3; mirrored beyond the picture. */
export function cutSquare(picture, { centreX, centreY, side, roll }, sizePx) {
  const pitch = Math.max(side, 1) / sizePx; // picture pixels for one of the crop
  const block = Math.max(1, Math.floor(pitch));
  const [cos, sin] = turn(roll);
  const reach = ((pitch * sizePx) / 2) * (Math.abs(cos) + Math.abs(sin)); // from the centre, of the turned square
  // The blocks that the square touches, and one more on each side for the interpolation.
  const firstX = Math.floor((centreX - reach) / block) - 1, firstY = Math.floor((centreY - reach) / block) - 1;
  const patch = blocks(picture, firstX, firstY, Math.ceil((2 * reach) / block) + 3, block);
  // Pixel centres: with c = (sizePx - 1) / 2, the crop's pixel (i, j) lies at the centre + pitch * turned (i - c, j - c),
  // the blocks' (k, l) at ((k + 1/2) block, (l + 1/2) block).
  const stepX = (pitch * cos) / block, stepY = (pitch * sin) / block, c = (sizePx - 1) / 2;
  const startX = centreX / block - 0.5 - firstX - (stepX - stepY) * c;
  const startY = centreY / block - 0.5 - firstY - (stepY + stepX) * c;
  const crop = new Uint8Array(sizePx * sizePx * 3);
  // As warpAffine rounds: both summands by themselves to 1/1024, their sum to 1/32.
  const right = Int32Array.from({ length: sizePx }, (_, x) => roundHalfToEven(stepX * x * 1024));
  const down = Int32Array.from({ length: sizePx }, (_, x) => roundHalfToEven(stepY * x * 1024));
  for (let y = 0, at = 0; y < sizePx; y++) {
    const u = roundHalfToEven((-stepY * y + startX) * 1024) + 16, v = roundHalfToEven((stepX * y + startY) * 1024) + 16;
    for (let x = 0; x < sizePx; x++, at += 3) bilinear(patch, (u + right[x]) >> 5, (v + down[x]) >> 5, crop, at);
  }
  return crop;
}

/** Enlarges the centre of a crop, a share of 1 / ratio of its side, to its size, RGB bytes; never shrinks it. */
export function closer(crop, sizePx, ratio) {
  if (!(ratio > 1)) return crop;
  const data = new Uint8Array(sizePx * sizePx * 4);
  for (let i = 0; i < sizePx * sizePx; i++) data.set(crop.subarray(3 * i, 3 * i + 3), 4 * i);
  const centre = { centreX: sizePx / 2, centreY: sizePx / 2, side: sizePx / ratio, roll: 0 };
  return cutSquare({ width: sizePx, height: sizePx, data }, centre, sizePx);
}

function turn(roll) {
  const angle = roll * (Math.PI / 180);
  return [Math.cos(angle), Math.sin(angle)];
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

/** Returns the 3 x 3 matrix from letterboxed to picture coordinates, with the rounding of OpenCV's own way to it. */
function fromLetterbox(square) {
  const { side } = square;
  const from = [[0, side], [0, 0], [side, 0], [side, side]].map((corner) => placed(square, ...corner).map(Math.fround));
  return inverse(perspective(from, [[0, PATCH_PX], [0, 0], [PATCH_PX, 0], [PATCH_PX, PATCH_PX]]));
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
