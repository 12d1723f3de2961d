// Pictures as the networks want them: upright, on white, RGBA bytes with no colour conversion.

const MAX_PIXELS = 16_777_216; // what a canvas of an iPhone holds

let canvas;

/** Decodes a file as { width, height, data, shown }, shown being its full width; rejects where the browser cannot. */
export async function decoded(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  const shrink = Math.ceil(Math.sqrt((bitmap.width * bitmap.height) / MAX_PIXELS));
  const picture = pixels(bitmap, Math.floor(bitmap.width / shrink), Math.floor(bitmap.height / shrink));
  return { ...picture, shown: bitmap.width };
}

/** Returns the pixels of an ImageBitmap, and closes it. */
export function pixels(bitmap, width = bitmap.width, height = bitmap.height) {
  canvas ??= new OffscreenCanvas(width, height);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return { width, height, data: context.getImageData(0, 0, width, height).data };
}
