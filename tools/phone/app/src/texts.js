// Every word that people read, in one place: copy this file to translate it.

export const texts = {
  title: "facetell",
  tagline: "Real faces from fake ones, on this device. Nothing is sent anywhere.",
  theme: "Light or dark",
  loading: "Loading the detector, once: it is kept for the next time.",
  ready: "Ready.",
  offline: "Ready, and works without a network.",
  failed: (why) => `It does not start here: ${why}. A newer browser may help.`,

  photo: "Photo",
  camera: "Camera",
  choose: "Choose a photo",
  take: "Take one",
  drop: "or drop or paste it here",
  samples: "Or try one of these:",
  sample: { "real.jpg": "a portrait", "fake.jpg": "a face swap", "two.jpg": "two people" },
  looking: "Looking …",
  unreadable: "This browser cannot read that file as a picture. JPEG, PNG and WebP always work.",

  verdicts: { real: "Looks real", fake: "Looks fake", uncertain: "Uncertain", none: "No face found" },
  meanings: {
    real: (percent) => `The probability of a fake is ${percent}.`,
    fake: (percent) => `The probability of a fake is ${percent}.`,
    uncertain: (percent) => `The probability of a fake is ${percent}: between what real and what fake faces usually get. Try a better picture.`,
    none: () => "Nothing can be said. A face should be at least a tenth of the picture's longer side.",
  },
  severalFaces: (count) => `The most suspicious of ${count} faces decides.`,
  face: (number, verdict, percent) => `Face ${number}: ${verdict.toLowerCase()}, ${percent} fake`,
  short: { real: "Real", fake: "Fake", uncertain: "Uncertain" },
  label: (number, verdict) => (number ? `${number}: ${verdict}` : verdict),
  took: (ms) => `${ms} ms on this device`,
  where: "Show where it looked",
  whereOff: "Hide where it looked",
  whereMeans: "Orange speaks for a fake, blue for a real face. It shows where the network looked, coarsely; not what was changed or why.",

  start: "Start the camera",
  stop: "Stop",
  flip: "Other camera",
  rate: (perSecond, ms) => `${perSecond} looks a second, ${ms} ms each`,
  paused: "Paused while this page is hidden.",
  cameraProblems: {
    NotAllowedError: "The camera is not allowed here. Allow it in the browser's settings for this page.",
    NotFoundError: "No camera was found.",
    NotReadableError: "The camera is in use by another program.",
    insecure: "Cameras work on https:// pages and on this machine's own address alone.",
  },

  limitsTitle: "What it can and cannot tell",
  limits: [
    "A verdict is evidence, not proof. Never accuse anybody because of it; look for the source of the picture.",
    "The network knows the kinds of fakes it was trained on; what another program made, it often takes for real.",
    "Small, blurred, filtered or heavily made-up faces mislead it, and some real faces are called fake.",
    "It looks at faces alone: not at whether a picture is staged, old, out of context or described wrongly.",
  ],
  aboutTitle: "About this detector",
  about: ({ name, version, license, precision, fake, real }) =>
    `Model ${name} ${version}, ${precision}. Fake from ${fake}, real up to ${real}, uncertain between. Terms: ${license}.`,
  card: "What was measured",
  notices: "Whose software this is",
};
