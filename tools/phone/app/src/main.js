// The page: what is chosen or filmed goes to the worker, and what it says is shown.

import { bySuspicion, mayDecide, verdictOf } from "./results.js";
import { percent, show } from "./shown.js";
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
worker.onerror = () => waiting.forEach(({ reject }) => reject(new Error(texts.workerStopped)));

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

// --- What is said below: of the tab that is open, or else of the page

const said = {};
let opened = "photo";

function tell(text, of = "page") {
  said[of] = text;
  showSaid();
}

function showSaid() {
  $("status").textContent = said[opened] ?? said.page;
}

// --- Two tabs

const tabs = ["photo", "camera"];
function open(name) {
  opened = name;
  for (const tab of tabs) {
    $(tab).hidden = tab !== name;
    $(`tab-${tab}`).ariaSelected = String(tab === name);
    $(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  if (name !== "camera") stop();
  showSaid();
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

let thresholds;
let hasExplain = false;
tell(texts.loading);
/** Whether the detector is there; where it is not, that has been said. */
const loaded = ask("load", location.href).then(
  ({ name, version, license, ...found }) => {
    ({ thresholds, hasExplain } = found);
    tell(texts.ready);
    const { fake, real } = thresholds;
    $("about").textContent = texts.about({ name, version, license, rule: texts.rule(percent(fake), percent(real)) });
    settle();
    return true;
  },
  (error) => {
    tell(texts.failed(error.message));
    return false;
  },
);

async function settle() {
  if (await keepForOffline()) tell(texts.offline);
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


// --- Photos

let photo = 0;

/** Looks at the file that get returns, now or later; it is the first of count. */
async function look(get, count = 1) {
  const own = ++photo;
  open("photo");
  tell(undefined, "photo");
  $("drop").classList.add("done");
  $("photo-stage").hidden = true;
  $("photo-said").replaceChildren();
  if (!(await loaded) || own !== photo) return; // another was chosen meanwhile
  tell(texts.looking, "photo");
  try {
    const found = await ask("photo", { number: own, file: await get() });
    if (own !== photo) return;
    if (!found) return tell(texts.unreadable, "photo");
    const { faces, latencyMs, shown } = found;
    $("photo-stage").hidden = false;
    $("photo-stage").style.setProperty("--px", `${shown.width}px`);
    $("photo-stage").style.setProperty("--ratio", shown.width / shown.height);
    Object.assign($("shown"), { width: shown.width, height: shown.height });
    $("shown").getContext("bitmaprenderer").transferFromImageBitmap(shown);
    const evidence = hasExplain ? (place) => ask("evidence", { number: own, place }) : null;
    show($("photo-stage"), $("photo-said"), faces, { thresholds, latencyMs, evidence });
    tell(count > 1 ? texts.onlyFirst(count) : "", "photo");
    $("photo-said").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (own === photo) tell(texts.photoFailed(error.message), "photo");
  }
}

function lookAtFirst({ length, 0: file }) {
  if (file) return look(() => file, length);
  open("photo");
  tell(texts.noPicture, "photo");
}
for (const id of ["choose", "take"]) {
  $(id).onchange = ({ target }) => {
    if (target.files.length) lookAtFirst(target.files);
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
  if (!answer.ok) throw new Error(texts.noFile(name, answer.status));
  return answer.blob();
}

// --- The camera

$("start").hidden = !navigator.mediaDevices; // as on plain http from another machine
$("filming").textContent = navigator.mediaDevices ? texts.filming : texts.cameraProblems.insecure;

let stream;
let cameras = [];
let wanted = { facingMode: "user" };
let filming = 0; // a number for each start, so that an older loop ends

async function start() {
  tell(undefined, "camera");
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
    tell("", "camera");
    await film(own, isMirrored);
  } catch (error) {
    if (own === filming) stop(texts.cameraProblems[error.name] ?? texts.cameraFailed(error.message || error.name));
  }
}

/** Stops the camera and says why, where that is not plain. */
function stop(why) {
  release();
  turn(false);
  if (why || said.camera === "") tell(why, "camera");
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
  $("start").hidden = isOn || !navigator.mediaDevices;
  $("filming").hidden = isOn;
  $("camera-stage").hidden = $("stop").hidden = !isOn;
  if (!isOn) $("flip").hidden = true;
  if (focused.hidden) $(isOn ? "stop" : "start").focus();
}

/** Looks at the newest frame, again and again. */
async function film(own, isMirrored) {
  const watcher = new Watcher((pFake) => verdictOf(pFake, thresholds));
  const looks = [];
  let latency = 0;
  let told = 0;
  let verdict;
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
    const seen = watcher.look(now, faces).sort(bySuspicion);
    const decided = seen.find(mayDecide)?.verdict;
    // Words that change with every frame cannot be read; but they never contradict the boxes.
    const tells = now - told > 500 || decided !== verdict;
    verdict = decided;
    show($("camera-stage"), tells ? $("camera-said") : null, seen, { thresholds, isMirrored });
    latency = latency ? 0.9 * latency + 0.1 * latencyMs : latencyMs;
    looks.push(now);
    while (now - looks[0] > 2000) looks.shift();
    if (tells) {
      told = now;
      const perSecond = ((looks.length - 1) * 1000) / (now - looks[0]);
      $("rate").textContent = looks.length > 1 ? texts.rate(perSecond.toFixed(0), latency.toFixed(0)) : "";
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
