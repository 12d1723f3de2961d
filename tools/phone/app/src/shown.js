// Faces framed over a picture or a video, and what is said of them.

import { mayDecide } from "./results.js";
import { texts } from "./texts.js";

const HEAT = { fake: [255, 122, 40], real: [40, 150, 235] };
const OPACITY = 0.7;

/**
 * Frames faces, in the order of results.js, over a stage and says in words, where said is given, what they are taken for.
 * evidence(place) asks for the heat map of the face at that place, or is null where there is none.
 */
export function show(stage, said, faces, { thresholds, latencyMs, evidence = null, isMirrored = false }) {
  for (const old of stage.querySelectorAll(".box, .heat")) old.remove();
  const isNumbered = faces.filter(mayDecide).length > 1;
  stage.append(...faces.map((face, place) => frame(face, isNumbered ? place + 1 : 0, isMirrored)));
  fitLabels();
  said?.replaceChildren(card(stage, faces, { thresholds, latencyMs, evidence }));
}

function frame(face, number, isMirrored) {
  const { box: [xMin, yMin, xMax, yMax], verdict, doubt } = face;
  const frame = element("div", `box ${verdict} ${doubt ?? ""}`);
  const [left, right] = isMirrored ? [1 - xMax, 1 - xMin] : [xMin, xMax];
  place(frame, left, yMin, right - left, yMax - yMin);
  const label = element("span", "", mayDecide(face) ? texts.label(number, texts.short[verdict]) : texts.doubts[doubt]);
  label.dataset.number = (mayDecide(face) && number) || "";
  frame.append(label);
  return frame;
}

/** Moves what stands beside the boxes into their pictures; a number, or nothing, where more does not fit. */
function fitLabels() {
  for (const label of document.querySelectorAll(".box span")) {
    const stage = label.closest(".stage"), isTooSmall = label.parentElement.matches(".too_small");
    const { clientWidth: room } = isTooSmall ? label.parentElement : stage; // there may be dozens side by side
    if (label.offsetWidth > room) label.textContent = label.dataset.number;
    label.style.translate = "";
    const [inner, outer] = [label, stage].map((element) => element.getBoundingClientRect());
    const right = Math.min(0, outer.right - inner.right) || Math.max(0, outer.left - inner.left);
    label.style.translate = `${right}px ${Math.min(0, outer.bottom - inner.bottom)}px`;
  }
}
addEventListener("resize", fitLabels);

function card(stage, faces, { thresholds, latencyMs, evidence }) {
  const judged = faces.filter(mayDecide), [worst] = judged, verdict = worst?.verdict ?? "none";
  const card = element("div", `verdict ${verdict}`);
  card.append(element("h2", "", faces.length && !worst ? texts.nothingToJudge : texts.verdicts[verdict]));
  if (worst && !worst.doubt) card.append(bar(worst, thresholds));
  card.append(element("p", "", meaning(worst, verdict, thresholds)));
  if (judged.length > 1) {
    card.append(element("p", "", texts.severalFaces(judged.length)));
    const list = element("ul", "");
    list.append(...judged.map((face, place) => element("li", "", line(face, place + 1))));
    card.append(list);
  }
  for (const [doubt, words] of Object.entries(texts.undecided)) {
    const count = faces.filter((face) => face.doubt === doubt).length;
    if (count) card.append(element("p", "", words(count)));
  }
  if (latencyMs !== undefined) card.append(element("p", "soft", texts.took(latencyMs.toFixed(0))));
  if (evidence && worst) card.append(...switchFor(stage, judged, evidence));
  return card;
}

function meaning(worst, verdict, { real, fake }) {
  if (worst?.isEarly) return texts.early;
  if (worst?.doubt) return texts.notFrontal;
  return texts.meanings[verdict](worst && percent(worst.pFake), texts.rule(percent(fake), percent(real)));
}

function line({ verdict, pFake, doubt, isEarly }, number) {
  if (isEarly) return texts.faceEarly(number);
  return texts.face(number, texts.verdicts[verdict], doubt ? texts.doubts[doubt] : texts.score(percent(pFake)));
}

/** Shows the probability between the thresholds, as the words beside it say; not yet for a face that is early. */
function bar({ pFake, isEarly }, { fake, real }) {
  const bar = element("div", "bar"), fill = element("i");
  fill.style.width = isEarly ? 0 : `${100 * pFake}%`;
  const ticks = [real, fake].map((threshold) => {
    const tick = element("b");
    tick.style.left = `${100 * threshold}%`;
    return tick;
  });
  bar.append(fill, ...ticks);
  bar.ariaHidden = "true";
  return bar;
}

/** Returns the button that shows and hides where the network looked, and what that means. */
function switchFor(stage, faces, evidence) {
  const button = Object.assign(element("button", "", texts.where), { type: "button" });
  const meaning = Object.assign(element("p", "soft"), { hidden: true });
  let isBusy = false; // a disabled button would lose the focus
  button.onclick = async () => {
    if (isBusy) return;
    isBusy = true;
    const shown = stage.querySelectorAll(".heat"), maps = [];
    try {
      if (!shown.length) for (const [place, face] of faces.entries()) maps.push(heat(face, await evidence(place)));
      meaning.textContent = texts.whereMeans;
    } catch (error) {
      meaning.textContent = texts.whereFailed(error.message);
    }
    isBusy = false;
    if (!button.isConnected) return; // another photo is shown
    for (const map of shown) map.remove();
    if (maps.length === faces.length) stage.querySelector(".box").before(...maps);
    button.textContent = stage.querySelector(".heat") ? texts.whereOff : texts.where;
    meaning.hidden = shown.length > 0;
  };
  return [button, meaning];
}

/** Returns a canvas with a pixel for each place; the browser smooths it as it enlarges it. */
function heat({ square: [xMin, yMin, xMax, yMax], roll }, { width: columns, height: rows, shares }) {
  const canvas = Object.assign(element("canvas", "heat"), { width: columns, height: rows });
  const pixels = new ImageData(columns, rows);
  shares.forEach((share, spot) => {
    pixels.data.set([...HEAT[share > 0 ? "fake" : "real"], Math.abs(share) * OPACITY * 255], 4 * spot);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  place(canvas, xMin, yMin, xMax - xMin, yMax - yMin);
  canvas.style.rotate = `${roll}deg`;
  return canvas;
}

function place({ style }, left, top, width, height) {
  const shares = { left, top, width, height };
  for (const [name, share] of Object.entries(shares)) style[name] = `${100 * share}%`;
}

export const percent = (share) => `${(100 * share).toFixed(share > 0.005 && share < 0.995 ? 0 : 1)} %`;

function element(name, classes = "", text = "") {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text) made.textContent = text;
  return made;
}
