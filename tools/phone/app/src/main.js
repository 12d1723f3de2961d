// The page: what is chosen or filmed goes to the worker, and what it says is shown.

import { show } from "./shown.js";
import { texts } from "./texts.js";
import { Watcher } from "./watcher.js";

const $ = (id) => document.getElementById(id);
// A worker of a blob has the page's policy; one of an address has what its server sends, on most web spaces none.
const script = `importScripts(${JSON.stringify(new URL("worker.js", location).href)})`;
const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
const waiting = new Map();
let asked = 0;

worker.onmessage = ({ data: { id, answer, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(answer);
  else reject(new Error(error));
};
worker.onerror = (event) => waiting.forEach(({ reject }) => reject(new Error(event.message || texts.workerStopped)));

/** Asks the worker; see worker.js for what it answers. */
const ask = (what, given, handed = []) =>
  new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, ask: what, given }, handed);
  });

for (const element of document.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
$("theme").ariaLabel = texts.theme;
$("shown").ariaLabel = texts.shown;
$("limits").append(...texts.limits.map((text) => Object.assign(document.createElement("li"), { textContent: text })));

// --- Light and dark

const theme = () => document.documentElement.dataset.theme;
document.documentElement.dataset.theme = inStore((store) => store.getItem("theme")) ?? "";
$("theme").onclick = () => {
  const isDark = theme() ? theme() === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  inStore((store) => store.setItem("theme", theme()));
};

/** Reads or writes what is kept for the next time, where the browser lets a page keep anything. */
function inStore(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}

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

let verdictOf;
let hasExplain = false;
status(texts.loading);
/** Whether the detector is there; where it is not, that has been said. */
const loaded = ask("load", location.href).then(
  ({ name, version, license, thresholds: { fake, real }, hasExplain: explains }) => {
    verdictOf = (pFake) => (pFake >= fake ? "fake" : pFake <= real ? "real" : "uncertain");
    hasExplain = explains;
    statusAfter(texts.loading, texts.ready);
    settle({ name, version, license, fake: fake.toPrecision(3), real: real.toPrecision(3) });
    return true;
  },
  (error) => {
    status(texts.failed(error.message));
    return false;
  },
);

async function settle(about) {
  const precision = await ask("choosePrecision").catch(() => "float32");
  $("about").textContent = texts.about({ ...about, precision });
  if (await keepForOffline()) statusAfter(texts.ready, texts.offline);
}

/** Keeps everything for the next time and returns whether that worked, as it does on https and on this machine. */
async function keepForOffline() {
  try {
    await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
    const { active } = await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    active.postMessage("keep", [port2]);
    return (await new Promise((resolve) => (port1.onmessage = resolve))).data;
  } catch {
    return false; // private windows, say: the page works all the same
  }
}

function status(text) {
  $("status").textContent = text;
}

/** Says the next thing, unless something else was said since. */
function statusAfter(before, text) {
  if ($("status").textContent === before) status(text);
}

// --- Photos

let photo = 0;

/** Looks at the file that get returns, now or later. */
async function look(get) {
  const own = ++photo;
  open("photo");
  $("photo-said").replaceChildren();
  if (!(await loaded) || own !== photo) return; // another was chosen meanwhile
  status(texts.looking);
  try {
    const found = await ask("photo", { number: own, file: await get() });
    if (own !== photo) return;
    $("photo-stage").hidden = !found;
    if (!found) return status(texts.unreadable);
    const { faces, latencyMs, shown } = found;
    Object.assign($("shown"), { width: shown.width, height: shown.height });
    $("shown").getContext("bitmaprenderer").transferFromImageBitmap(shown);
    const evidence = hasExplain && faces.length ? ({ box }) => ask("evidence", { number: own, box }) : null;
    show($("photo-stage"), $("photo-said"), faces, { latencyMs, evidence });
    status("");
  } catch (error) {
    if (own !== photo) return;
    $("photo-stage").hidden = true;
    status(texts.photoFailed(error.message));
  }
}

const lookAtFirst = ([file]) => file && look(() => file);
for (const id of ["choose", "take"]) {
  $(id).onchange = ({ target }) => {
    lookAtFirst(target.files);
    target.value = ""; // so that the same file can be chosen again
  };
}
$("take-label").hidden = !matchMedia("(pointer: coarse)").matches;
document.onpaste = ({ clipboardData }) => lookAtFirst(clipboardData.files);
document.ondragover = (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
};
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  lookAtFirst(event.dataTransfer.files);
};
for (const [name, words] of Object.entries(texts.sample)) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  button.onclick = () => look(() => sample(name));
  $("samples").append(" ", button);
}

async function sample(name) {
  const answer = await fetch(`samples/${name}`);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer.blob();
}

// --- The camera

let stream;
let cameras = [];
let wanted = { facingMode: "user" };
let filming = 0; // a number for each start, so that an older loop ends

async function start() {
  if (!navigator.mediaDevices) return status(texts.cameraProblems.insecure);
  release();
  turn(true);
  const own = filming;
  try {
    const video = { ...wanted, width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
    const opened = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    if (own !== filming) return opened.getTracks().forEach((track) => track.stop());
    stream = opened;
    const [track] = stream.getVideoTracks();
    track.onended = () => own === filming && stop(texts.cameraGone);
    const isMirrored = track.getSettings().facingMode !== "environment";
    $("camera-stage").classList.toggle("mirrored", isMirrored);
    $("video").srcObject = stream;
    await $("video").play();
    const isLoaded = await loaded;
    if (own !== filming) return;
    if (!isLoaded) return stop();
    cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    if (own !== filming) return;
    $("flip").hidden = cameras.length < 2;
    status("");
    await film(own, isMirrored);
  } catch (error) {
    if (own === filming) stop(texts.cameraProblems[error.name] ?? texts.cameraFailed(error.message || error.name));
  }
}

/** Stops the camera and says why, where that is not plain. */
function stop(why) {
  release();
  turn(false);
  if (why) status(why);
}

function release() {
  filming++;
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  $("video").srcObject = null;
  $("rate").textContent = "";
  show($("camera-stage"), null, [], {});
  $("camera-said").replaceChildren();
}

/** Shows the camera and its buttons, or the one that starts it, which takes the focus of one that goes. */
function turn(isOn) {
  const focused = document.activeElement;
  $("start").hidden = isOn;
  $("camera-stage").hidden = $("stop").hidden = !isOn;
  if (!isOn) $("flip").hidden = true;
  if (focused.hidden) $(isOn ? "stop" : "start").focus();
}

/** Looks at the newest frame, again and again. */
async function film(own, isMirrored) {
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
    show($("camera-stage"), tells ? $("camera-said") : null, seen, { isMirrored });
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
$("stop").onclick = () => stop();
$("flip").onclick = () => {
  if (!stream) return; // the other one is about to start
  const { facingMode, deviceId } = stream.getVideoTracks()[0].getSettings();
  const next = cameras[(cameras.findIndex((camera) => camera.deviceId === deviceId) + 1) % cameras.length];
  const facing = { facingMode: facingMode === "user" ? "environment" : "user" };
  wanted = facingMode ? facing : { deviceId: { exact: next.deviceId } }; // webcams face nowhere
  start();
};
