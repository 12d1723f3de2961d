// The page: what is chosen or filmed goes to the worker, and what it says is shown.

import { show } from "./shown.js";
import { texts } from "./texts.js";
import { Watcher } from "./watcher.js";

const $ = (id) => document.getElementById(id);
const worker = new Worker("worker.js");
const waiting = new Map();
let asked = 0;

worker.onmessage = ({ data: { id, answer, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(answer);
  else reject(new Error(error));
};
worker.onerror = (event) => waiting.forEach(({ reject }) => reject(new Error(event.message || "the worker stopped")));

/** Asks the worker; see worker.js for what it answers. */
const ask = (what, given, handed = []) =>
  new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, ask: what, given }, handed);
  });

for (const element of document.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
$("theme").ariaLabel = texts.theme;
$("limits").append(...texts.limits.map((text) => Object.assign(document.createElement("li"), { textContent: text })));

// --- Light and dark

const theme = () => document.documentElement.dataset.theme;
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "";
$("theme").onclick = () => {
  const isDark = theme() ? theme() === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", theme());
};

// --- Two tabs

const tabs = ["photo", "camera"];
function open(name) {
  for (const tab of tabs) {
    $(tab).hidden = tab !== name;
    $(`tab-${tab}`).ariaSelected = String(tab === name);
    $(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  if (name !== "camera") stop();
}
for (const [place, name] of tabs.entries()) {
  $(`tab-${name}`).onclick = () => open(name);
  $(`tab-${name}`).onkeydown = ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = tabs[(place + 1) % tabs.length];
    open(other);
    $(`tab-${other}`).focus();
  };
}

// --- The detector

const detector = ask("load");
let verdictOf;
let hasExplain = false;
status(texts.loading);
detector
  .then(async ({ name, version, license, thresholds: { fake, real }, hasExplain: explains }) => {
    verdictOf = (pFake) => (pFake >= fake ? "fake" : pFake <= real ? "real" : "uncertain");
    hasExplain = explains;
    status(texts.ready);
    const precision = await ask("choosePrecision");
    const rounded = { fake: fake.toPrecision(3), real: real.toPrecision(3) };
    $("about").textContent = texts.about({ name, version, license, precision, ...rounded });
    if ((await keepForOffline()) && $("status").textContent === texts.ready) status(texts.offline);
  })
  .catch((error) => status(texts.failed(error.message)));

/** Keeps everything for the next time and returns whether that worked, as it does on https and on this machine. */
async function keepForOffline() {
  if (!navigator.serviceWorker) return false;
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    return true;
  } catch {
    return false; // private windows, say: the page works all the same
  }
}

function status(text) {
  $("status").textContent = text;
}

// --- Photos

let photo = 0;

async function look(file) {
  const own = ++photo;
  open("photo");
  status(texts.looking);
  const address = URL.createObjectURL(file);
  $("photo-said").replaceChildren();
  try {
    await detector;
    const found = await ask("photo", file);
    if (own !== photo) return; // another was chosen meanwhile
    $("photo-stage").hidden = true;
    if (!found) return status(texts.unreadable);
    const { faces, latencyMs } = found;
    $("shown").src = address;
    await $("shown").decode();
    $("photo-stage").hidden = false;
    const evidence = hasExplain && faces.length ? (face) => ask("evidence", face.box) : null;
    show($("photo-stage"), $("photo-said"), faces, { latencyMs, evidence });
    status("");
  } catch (error) {
    if (own !== photo) return;
    $("photo-stage").hidden = true;
    status(texts.failed(error.message));
  } finally {
    URL.revokeObjectURL(address);
  }
}

for (const id of ["choose", "take"]) {
  $(id).onchange = ({ target }) => {
    if (target.files.length) look(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  };
}
$("take-label").hidden = !matchMedia("(pointer: coarse)").matches;
document.onpaste = ({ clipboardData }) => clipboardData.files.length && look(clipboardData.files[0]);
document.ondragover = (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
};
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
};
for (const [name, words] of Object.entries(texts.sample)) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  button.onclick = async () => look(await (await fetch(`samples/${name}`)).blob());
  $("samples").append(" ", button);
}

// --- The camera

let stream;
let facing = "user";
let filming = 0; // a number for each start, so that an older loop ends

async function start() {
  stop();
  const own = ++filming;
  if (!navigator.mediaDevices) return status(texts.cameraProblems.insecure);
  try {
    const video = { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
    const opened = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    if (own !== filming) return opened.getTracks().forEach((track) => track.stop());
    stream = opened;
    $("video").srcObject = stream;
    await $("video").play();
    await detector;
  } catch (error) {
    if (own === filming) {
      stop();
      status(texts.cameraProblems[error.name] ?? texts.failed(error.message));
    }
    return;
  }
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
  $("camera-stage").hidden = $("stop").hidden = false;
  $("flip").hidden = cameras.length < 2;
  $("start").hidden = true;
  $("camera-stage").classList.toggle("mirrored", facing === "user");
  status("");
  film(own);
}

function stop() {
  filming++;
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  $("video").srcObject = null;
  $("start").hidden = false;
  $("camera-stage").hidden = $("stop").hidden = $("flip").hidden = true;
  $("rate").textContent = "";
  $("camera-said").replaceChildren();
}

/** Looks at the newest frame, again and again. */
async function film(own) {
  const watcher = new Watcher(verdictOf);
  const looks = [];
  let latency = 0;
  let told = 0;
  while (own === filming) {
    await nextFrame();
    if (own !== filming) return;
    if (document.hidden) {
      $("rate").textContent = texts.paused;
      continue;
    }
    const bitmap = await createImageBitmap($("video"), { colorSpaceConversion: "none" });
    const { faces, latencyMs } = await ask("frame", bitmap, [bitmap]);
    if (own !== filming) return;
    const now = performance.now();
    const seen = watcher.look(now, faces).sort((one, other) => other.pFake - one.pFake);
    const tells = now - told > 500; // words that change with every frame cannot be read
    show($("camera-stage"), tells ? $("camera-said") : null, seen, { isMirrored: facing === "user" });
    latency = latency ? 0.9 * latency + 0.1 * latencyMs : latencyMs;
    looks.push(now);
    while (now - looks[0] > 2000) looks.shift();
    if (tells) {
      told = now;
      const perSecond = looks.length > 1 ? ((looks.length - 1) * 1000) / (now - looks[0]) : 0;
      $("rate").textContent = texts.rate(perSecond.toFixed(0), latency.toFixed(0));
    }
  }
}

/** Resolves when the video shows another frame, or in a while: a hidden page gets none. */
const nextFrame = () =>
  new Promise((resolve) => {
    const late = setTimeout(resolve, 500);
    const done = () => {
      clearTimeout(late);
      resolve();
    };
    if ($("video").requestVideoFrameCallback) $("video").requestVideoFrameCallback(done);
    else requestAnimationFrame(done);
  });

$("start").onclick = start;
$("stop").onclick = stop;
$("flip").onclick = () => {
  facing = facing === "user" ? "environment" : "user";
  start();
};
