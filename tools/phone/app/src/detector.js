// The networks of a bundle: faces in a picture, each with what it is taken for.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

import { facesOf } from "./finder.js";
import { cropFace, faceSquare, letterbox, roundHalfToEven } from "./pixels.js";

const MUCH_FASTER = 2 / 3; // of float32's time, as facetell scan has it
const TIMED_RUNS = 8;
const LOGIT_LIMIT = 13.8; // nothing is said to be sure
const FULL_EVIDENCE = 20; // log-odds at which a place is painted as strongly as any

/** Loads a bundle, whose files fetchFile(name) resolves to as Uint8Array; runtime is the path of LiteRT.js's litert.js. */
export async function loadDetector(fetchFile, runtime) {
  const manifest = JSON.parse(new TextDecoder().decode(await fetchFile("model.json")));
  globalThis.Module = { locateFile: () => runtime.replace(/js$/, "wasm") }; // a worker would look beside itself
  await loadLiteRt(runtime);
  const finder = manifest.face.pre_cropped ? null : await network(fetchFile, manifest.face.file);
  return new Detector(manifest, finder, await network(fetchFile, manifest.files.float32.file), fetchFile);
}

class Detector {
  #fetchFile;
  #finder;
  #classifier;
  #explainer;

  constructor(manifest, finder, classifier, fetchFile) {
    this.manifest = manifest;
    this.precision = "float32";
    this.#fetchFile = fetchFile;
    this.#finder = finder;
    this.#classifier = classifier;
  }

  /** Returns the faces in a picture as { box, score, pFake, verdict }, the most suspicious first. */
  async detect(picture) {
    const faces = [];
    for (const face of await this.#find(picture)) {
      const pFake = await this.score(this.#crop(picture, face.box));
      faces.push({ ...face, pFake, verdict: this.verdict(pFake) });
    }
    return faces.sort((one, other) => other.pFake - one.pFake);
  }

  /** Returns what a calibrated probability means. */
  verdict(pFake) {
    const { real, fake } = this.manifest.thresholds;
    return pFake >= fake ? "fake" : pFake <= real ? "real" : "uncertain";
  }

  /** Returns what is looked at of a face: left, top and side, in pixels. */
  square(picture, box) {
    const { face, input } = this.manifest;
    if (!face.pre_cropped) return faceSquare(picture, box, face.margin_ratio);
    const { left, top, side } = faceSquare(picture, box, 1), rim = (side * (1 - input.size / savedSizePx(input.size))) / 2;
    return { left: left + rim, top: top + rim, side: side - 2 * rim };
  }

  /** Takes int8 instead of float32 where it is there and much faster. */
  async choosePrecision() {
    const file = this.manifest.files.int8?.file;
    if (!file) return;
    const int8 = await network(this.#fetchFile, file);
    const [slow, fast] = [await timed(this.#classifier), await timed(int8)];
    const isFaster = fast < MUCH_FASTER * slow;
    (isFaster ? this.#classifier : int8).delete();
    if (isFaster) [this.#classifier, this.precision] = [int8, "int8"];
  }

  /** Returns { width, height, shares }: of each place of a face how strongly it speaks for a fake, -1..1. */
  async evidence(picture, box) {
    this.#explainer ??= await network(this.#fetchFile, this.manifest.explain.file);
    const { shape, values } = (await this.#explainer.run(this.#crop(picture, box))).find(({ shape }) => shape.length === 4);
    const [, height, width, kinds] = shape, places = height * width;
    const means = Array.from({ length: kinds }, (_, kind) => {
      let sum = 0;
      for (let place = 0; place < places; place++) sum += values[place * kinds + kind];
      return sum / places;
    });
    const kind = means.indexOf(Math.max(...means));
    const shares = Array.from({ length: places }, (_, place) => values[place * kinds + kind] / FULL_EVIDENCE);
    return { width, height, shares: shares.map((share) => Math.min(Math.max(share, -1), 1)) };
  }

  async #find(picture) {
    const { width, height } = picture;
    if (!this.#finder) return [{ box: [0, 0, width, height], score: 1 }];
    const outputs = await this.#finder.run(letterbox(picture));
    const [regressors, logits] = [16, 1].map((numbers) => outputs.find(({ shape }) => shape.at(-1) === numbers).values);
    return facesOf(regressors, logits, picture, this.manifest.face.min_score);
  }

  #crop(picture, box) {
    const { face, input } = this.manifest;
    if (!face.pre_cropped) return cropFace(picture, box, input.size, face.margin_ratio);
    return centre(cropFace(picture, box, savedSizePx(input.size), 1), input.size);
  }

  /** Returns the calibrated probability that a crop of the input size, RGB bytes, is of a fake. */
  async score(crop) {
    const [{ values }] = await this.#classifier.run(crop);
    const { temperature, bias } = this.manifest.files[this.precision];
    const logit = Math.min(Math.max(Math.log(values[1] / (1 - values[1])), -LOGIT_LIMIT), LOGIT_LIMIT);
    return 1 / (1 + Math.exp(-(logit / temperature + bias)));
  }
}

/** Loads a .tflite file; run takes its one input's numbers and resolves to its outputs as { shape, values }. */
async function network(fetchFile, name) {
  const model = await loadAndCompile(await fetchFile(name), { accelerator: "wasm" });
  const [{ dtype, shape }] = model.getInputDetails();
  return {
    shape,
    async run(numbers) {
      const input = new Tensor(dtype === "uint8" ? numbers : Float32Array.from(numbers), shape);
      const outputs = await model.run(input);
      const found = outputs.map((output) => ({ shape: [...output.type.layout.dimensions], values: output.toTypedArray() }));
      for (const tensor of [input, ...outputs]) tensor.delete();
      return found;
    },
    delete: () => model.delete(),
  };
}

async function timed(classifier) {
  const blank = new Uint8Array(classifier.shape.reduce((product, side) => product * side));
  await classifier.run(blank);
  const start = performance.now();
  for (let run = 0; run < TIMED_RUNS; run++) await classifier.run(blank);
  return performance.now() - start;
}

// As edge/faces.py stores the crops that a network was trained on: a seventh larger.
const savedSizePx = (sizePx) => sizePx + 2 * roundHalfToEven(sizePx / 14);

function centre(crop, sizePx) {
  const stored = Math.sqrt(crop.length / 3), start = (stored - sizePx) / 2;
  const out = new Uint8Array(sizePx * sizePx * 3);
  for (let y = 0; y < sizePx; y++) {
    const from = 3 * ((start + y) * stored + start);
    out.set(crop.subarray(from, from + 3 * sizePx), 3 * sizePx * y);
  }
  return out;
}
