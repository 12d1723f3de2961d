// Pictures as the networks want them: upright, on white, RGBA bytes with no colour conversion.

import { withoutProfile } from "./files.js";

const MAX_PIXELS = 16_777_216; // what a canvas of an iPhone holds
const AS_STORED = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };

let canvas;

/**
 * Decodes a file as { width, height, data, shrink }, shrink being how much larger the picture itself is; rejects where the
 * browser cannot or the file is cut off.
 */
export async function decoded(blob) {
  const { file, isJpeg } = await withoutProfile(blob);
  const bitmap = await createImageBitmap(file, AS_STORED);
  const shrink = Math.ceil(Math.sqrt((bitmap.width * bitmap.height) / MAX_PIXELS));
  if (shrink === 1 && !isJpeg && (await keepsColours())) return onWhite(bitmap);
  return pixels(bitmap, shrink);
}

/** Returns the pixels of an ImageBitmap, shrunk, and closes it. */
export function pixels(bitmap, shrink = 1) {
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.floor(side / shrink));
  canvas ??= new OffscreenCanvas(width, height);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return { width, height, data: context.getImageData(0, 0, width, height).data, shrink };
}

/**
 * Returns the pixels of an ImageBitmap that may be transparent, laid over white, and closes it. Canvases round that each
 * in its own way, which moves a verdict by a hundredth.
 */
async function onWhite(bitmap) {
  const { width, height } = bitmap;
  const data = await stored(bitmap);
  for (let at = 0; at < data.length; at += 4) {
    const alpha = data[at + 3];
    if (alpha === 255) continue;
    for (let channel = at; channel < at + 3; channel++) {
      data[channel] = Math.round((alpha * data[channel] + (255 - alpha) * 255) / 255);
    }
    data[at + 3] = 255;
  }
  return { width, height, data, shrink: 1 };
}

/** Returns the RGBA bytes of an ImageBitmap, its transparent colours as they are, and closes it. */
async function stored(bitmap) {
  const frame = new VideoFrame(bitmap, { timestamp: 0 });
  const data = new Uint8ClampedArray(bitmap.width * bitmap.height * 4);
  await frame.copyTo(data, { format: "RGBA" });
  frame.close();
  bitmap.close();
  return data;
}

let isExact;

/** Whether stored does so here; WebKit's frames do not. */
async function keepsColours() {
  if (!globalThis.VideoFrame) return false;
  const colour = [200, 100, 50, 3];
  const bitmap = () => createImageBitmap(new ImageData(Uint8ClampedArray.from(colour), 1, 1), AS_STORED);
  isExact ??= String(await stored(await bitmap())) === String(colour);
  return isExact;
}
