// Keeps the whole page for when there is no network. files.js, which facetell phone writes, says what there is:
// VERSION changes with any of the FILES.
importScripts("files.js");

const OURS = `facetell ${registration.scope} `; // there may be another page like this on the same web space
const CACHE = OURS + VERSION;

let isFirst = false; // a later version waits until no page of the one before it is open

oninstall = (event) => {
  isFirst = !registration.active;
  event.waitUntil(keep());
};
onactivate = (event) => event.waitUntil(Promise.all([forgetOthers(), isFirst && clients.claim()]));
onfetch = (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
};
/** Answers a page with whether everything is there. */
onmessage = (event) => {
  const kept = keep().then(() => true, () => false);
  event.waitUntil(kept.then((isKept) => event.ports[0].postMessage(isKept)));
};

async function keep() {
  const cache = await caches.open(CACHE);
  if ((await cache.keys()).length === FILES.length) return;
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" }))); // what came just now is not sent again
}

async function forgetOthers() {
  const old = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  const address = request.url.replace(/\/index\.html(?=$|[?#])/, "/");
  return (await cache.match(address, { ignoreSearch: true })) ?? fetch(request);
}
