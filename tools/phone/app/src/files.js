// Picture files without what would make a browser convert their colours: WebKit does so whatever it is asked for.

const PNG_COLOURS = ["gAMA", "cHRM", "iCCP", "cICP", "sRGB"];

/** Returns { file, isJpeg }, what the file is being told by its first bytes; throws for a JPEG that is cut off. */
export async function withoutProfile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const start = latin(bytes, 0, 4), isJpeg = start.startsWith("\xff\xd8\xff"), isPng = start === "\x89PNG";
  if (!isJpeg && !isPng) return { file, isJpeg };
  // In one part: of several, Firefox takes the first alone to tell what it is.
  const content = await new Blob(isJpeg ? jpeg(bytes) : png(bytes)).arrayBuffer();
  return { file: new Blob([content], { type: isJpeg ? "image/jpeg" : "image/png" }), isJpeg };
}

function jpeg(bytes) {
  const parts = [bytes.subarray(0, 2)];
  let at = 2;
  while (bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
    const end = bytes[at + 1] === 0xff ? at + 1 : at + 2 + 256 * bytes[at + 2] + bytes[at + 3];
    const isProfile = bytes[at + 1] === 0xe2 && latin(bytes, at + 4, 12) === "ICC_PROFILE\0";
    if (!isProfile) parts.push(bytes.subarray(at, end));
    at = end;
  }
  let end = at; // in a scan each other 0xff is followed by something else
  do end = bytes.indexOf(0xff, end + 1);
  while (end > 0 && bytes[end + 1] !== 0xd9);
  if (end < 0) throw new Error("cut off");
  return [...parts, bytes.subarray(at)];
}

function png(bytes) {
  const parts = [bytes.subarray(0, 8)], view = new DataView(bytes.buffer);
  for (let at = 8, end; at + 8 <= bytes.length; at = end) {
    end = at + 12 + view.getUint32(at);
    if (!PNG_COLOURS.includes(latin(bytes, at + 4, 4))) parts.push(bytes.subarray(at, end));
  }
  return parts;
}

const latin = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
