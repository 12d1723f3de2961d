// The networks of a bundle: faces in a picture, each with what it is taken for.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

import { facesOf, inputOf } from "./blazeface.js";
import { isFrontal, rollOf, sizeOf } from "./faces.js";
import { findFaces, HINT_SCORE, isSure } from "./finder.js";
import { closer, cutSquare, faceSquare, roundHalfToEven } from "./pixels.js";
import { bySuspicion, verdictOf } from "./results.js";

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
    this.#fetchFile = fetchFile;
    this.#finder = finder;
    this.#classifier = classifier;
  }

  /**
   * Resolves to the faces in a picture as { box, score, points, roll, pFake, verdict, doubt }, see results.js, those that
   * may decide first, the most suspicious at the head. Small faces take more looks to find.
   */
  async detect(picture, { smallFaces = true } = {}) {
    const faces = [];
    for (const found of await this.#find(picture, smallFaces)) {
      const roll = Math.round(100 * rollOf(found)) / 100, doubt = this.#doubt(found, picture);
      const face = { ...found, roll, doubt, pFake: null, verdict: "uncertain" };
      if (doubt !== "too_small") face.pFake = await this.score(this.crop(picture, face));
      if (!doubt) face.verdict = verdictOf(face.pFake, this.manifest.thresholds);
      faces.push(face);
    }
    return faces.sort(bySuspicion);
  }

  /** Returns the square of the picture that the network is shown of a face. */
  shownSquare(picture, face) {
    const { pre_cropped } = this.manifest.face, { size } = this.manifest.input;
    if (!pre_cropped) return this.#around(picture, face).shown;
    const stored = faceSquare(picture, face.box, 1);
    return { ...stored, side: (stored.side * size) / savedSizePx(size) };
  }

  /** Returns the square that is cut of a face, and that at its centre which is shown to the network, enlarged. */
  #around(picture, { box, roll }) {
    const { margin_ratio, shown_ratio } = this.manifest.face, cut = faceSquare(picture, box, margin_ratio, roll);
    return { cut, shown: { ...cut, side: Math.min(cut.side, shown_ratio * sizeOf({ box })) } };
  }

  /** Resolves to { width, height, shares }: how strongly each place of a face's square speaks for a fake, -1..1. */
  async evidence(picture, face) {
    this.#explainer ??= await network(this.#fetchFile, this.manifest.explain.file);
    const { shape, values } = (await this.#explainer.run(this.crop(picture, face))).find(({ shape }) => shape.length === 4);
    const [, height, width] = shape;
    const shares = Array.from(values, (logOdds) => Math.min(Math.max(logOdds / FULL_EVIDENCE, -1), 1));
    return { width, height, shares };
  }

  async #find(picture, smallFaces) {
    const { width, height, shrink } = picture;
    if (!this.#finder) return [{ box: [0, 0, width, height], score: 1, points: [] }];
    const smallestPx = smallFaces ? this.manifest.face.min_face_px / shrink : null;
    return findFaces((patch) => this.#look(patch), picture, smallestPx);
  }

  async #look(patch) {
    const outputs = await this.#finder.run(inputOf(patch));
    const [regressors, logits] = [16, 1].map((numbers) => outputs.find(({ shape }) => shape.at(-1) === numbers).values);
    return facesOf(regressors, logits, HINT_SCORE);
  }

  /** Returns why a face is not judged like others, null if it is. */
  #doubt(face, { shrink }) {
    const { min_face_px, pre_cropped } = this.manifest.face;
    if (pre_cropped) return null;
    if (!isSure(face)) return "may_not_be_a_face";
    if (sizeOf(face) * shrink < min_face_px) return "too_small";
    return isFrontal(face) ? null : "not_frontal";
  }

  /** Returns what the network is shown of a face, RGB bytes of the input size. */
  crop(picture, face) {
    const { size } = this.manifest.input;
    if (!this.manifest.face.pre_cropped) {
      const { cut, shown } = this.#around(picture, face);
      return closer(cutSquare(picture, cut, size), size, cut.side / shown.side);
    }
    return centre(cutSquare(picture, faceSquare(picture, face.box, 1), savedSizePx(size)), size);
  }

  /** Returns the calibrated probability that a crop of the input size, RGB bytes, is of a fake. */
  async score(crop) {
    const [{ values }] = await this.#classifier.run(crop);
    const { temperature, bias } = this.manifest.files.float32;
    const logit = Math.min(Math.max(Math.log(values[1] / (1 - values[1])), -LOGIT_LIMIT), LOGIT_LIMIT);
    return 1 / (1 + Math.exp(-(logit / temperature + bias)));
  }
}

/** Loads a .tflite file; run takes its one input's numbers and resolves to its outputs as { shape, values }. */
async function network(fetchFile, name) {
  const model = await loadAndCompile(await fetchFile(name), { accelerator: "wasm" });
  const [{ shape }] = model.getInputDetails();
  return {
    async run(numbers) {
      const input = new Tensor(new Float32Array(numbers), shape);
      const outputs = await model.run(input);
      const found = outputs.map((output) => ({ shape: [...output.type.layout.dimensions], values: output.toTypedArray() }));
      for (const tensor of [input, ...outputs]) tensor.delete();
      return found;
    },
  };
}

// As edge/cut.py stores the crops that a network was trained on: a seventh larger.
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
