// Makes ../site, which the Python package ships beside static/: scripts, icons, and LiteRT.js packed. Run by make phone.

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

import { Resvg } from "@resvg/resvg-js";
import { build } from "esbuild";

const SITE = "../site";
const LITERT = "node_modules/@litertjs/core";
const RUNTIME = "litert_wasm_compat_internal"; // runs in all engines, no slower than the one for relaxed SIMD

rmSync(SITE, { recursive: true, force: true });
mkdirSync(`${SITE}/litert`, { recursive: true });

const common = { bundle: true, minify: true, legalComments: "none", target: "es2022", outdir: SITE };
await build({ ...common, entryPoints: ["src/main.js"], format: "esm" });
await build({ ...common, entryPoints: ["src/worker.js"], format: "iife" });

const icon = readFileSync("../../web/icon.svg", "utf8");
writeFileSync(`${SITE}/icon.svg`, icon);
// A maskable icon is cut to any shape: its drawing stays within the middle 80 %, its ground reaches the edge.
const maskable = icon.replace('viewBox="0 0 64 64"', 'viewBox="-8 -8 80 80"').replace(/<rect[^>]*>/, '<rect x="-8" y="-8" width="80" height="80" fill="#0072b2"/>');
for (const [name, svg, width] of [["icon-192", icon, 192], ["icon-512", icon, 512], ["icon-maskable-512", maskable, 512]]) {
  writeFileSync(`${SITE}/${name}.png`, new Resvg(svg, { fitTo: { mode: "width", value: width } }).render().asPng());
}

for (const ending of ["js", "wasm"]) {
  const packed = gzipSync(readFileSync(`${LITERT}/wasm/${RUNTIME}.${ending}`), { level: 9 });
  writeFileSync(`${SITE}/litert/litert.${ending}.gz`, packed);
}
copyFileSync("../../../LICENSE", `${SITE}/LICENSE.txt`);
const { version } = JSON.parse(readFileSync(`${LITERT}/package.json`, "utf8"));
writeFileSync(`${SITE}/NOTICE.txt`, `litert/ and parts of worker.js are LiteRT.js ${version} (@litertjs/core and @litertjs/wasm-utils, unchanged).
Copyright Google LLC, licensed under the Apache License, Version 2.0, which LICENSE.txt has.

bundle/face_detector.tflite is the BlazeFace short-range model of MediaPipe, unchanged.
Copyright The MediaPipe Authors, licensed under the Apache License, Version 2.0.

The rest is facetell, licensed under the Apache License, Version 2.0. The classifiers in bundle/ have terms of their
own, which the page names.
`);
