// Keeps the whole page for when there is no network. files.js, which facetell phone writes, says what there is:
// VERSION changes with any of the FILES.
importScripts("files.js");

const CACHE = `facetell-${VERSION}`;

oninstall = (event) => event.waitUntil(keep());
onactivate = (event) => event.waitUntil(forgetOthers());
onfetch = (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
};

async function keep() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
  await skipWaiting();
}

async function forgetOthers() {
  const old = (await caches.keys()).filter((name) => name.startsWith("facetell-") && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
}
