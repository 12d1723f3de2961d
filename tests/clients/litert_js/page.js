import { loadAndCompile, loadLiteRt, Tensor } from "./litert/index.js";

const runtime = loadLiteRt("litert/wasm/");

/** Returns [real, fake] of every picture; the pictures are raw RGB bytes, one after the other. */
window.score = async (modelUrl, picturesUrl) => {
  await runtime;
  const model = await loadAndCompile(modelUrl, { accelerator: "wasm" });
  const [{ shape }] = model.getInputDetails();
  if (shape[0] !== 1) throw new Error(`LiteRT.js wants a fixed batch of 1; ${modelUrl} declares [${shape}]`);
  const length = shape.reduce((product, side) => product * side);
  const pictures = new Uint8Array(await (await fetch(picturesUrl)).arrayBuffer());
  const scores = [];
  for (let start = 0; start < pictures.length; start += length) {
    const picture = pictures.slice(start, start + length);
    const input = new Tensor(Float32Array.from(picture), shape);
    const [output] = await model.run(input);
    scores.push(Array.from(output.toTypedArray()));
    input.delete();
    output.delete();
  }
  model.delete();
  return scores;
};
