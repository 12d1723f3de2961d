"""How fast the phone page is here: python -m tests.clients.phone.speed, for docs/performance.md."""

from __future__ import annotations

import json
import select
import shutil
import socket
import socketserver
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cv2
from playwright.sync_api import sync_playwright

from facetell.edge.bundle import load_bundle
from facetell.edge.images import read_image
from facetell.tools.phone.site import write_site

from ...pictures import SAMPLES, encoded
from ...tools.web.load import server
from ..conftest import serving
from .engines import ENGINES, missing
from .pages import write_film

PHOTOS = 20
FILM_S = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        site, film = Path(folder) / "site", Path(folder) / "face.y4m"
        write_site(load_bundle(), site)
        photo = cv2.resize(read_image(SAMPLES / "real_astronaut.jpg"), (640, 480))
        (site / "photo.jpg").write_bytes(encoded(photo, "JPEG", quality=90))
        write_film(film)
        with serving(site, policy=None) as address:
            print(f"a first visit of a plain web server: {first_visit_mb(address):.1f} MB")
        with server("--phone") as (address, _):
            print(f"of facetell serve --phone: {first_visit_mb(f'{address}/phone/'):.1f} MB")
        with serving(site, policy=None) as address:
            for name, engine in ENGINES.items():
                if lacks := missing(name):
                    print(f"{name}: {lacks} is not installed", file=sys.stderr)
                    continue
                with engine(address) as run:
                    times = run(f"() => ({LOOKS})({PHOTOS})")
                    print(f"{name}: a photo of 640 x 480 {statistics.median(times):.1f} ms in the median")
            print("camera in Chromium:", camera(address, film))


def first_visit_mb(address: str) -> float:
    """Return how much a server sends Chromium until the page is kept for offline, headers and all."""
    url = urlsplit(address)
    assert url.hostname
    assert url.port
    with counting(url.hostname, url.port) as (port, sent), tempfile.TemporaryDirectory() as profile:
        with sync_playwright() as playwright:
            context = playwright.chromium.launch_persistent_context(profile, executable_path=shutil.which("chromium"))
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{port}{url.path}")
            page.locator("#status", has_text="without a network").wait_for(timeout=60_000)
            context.close()
        return sum(sent) / 1e6


@contextmanager
def counting(host: str, port: int) -> Iterator[tuple[int, list[int]]]:
    """Pass connections on to a server; yield at which port, and a list that grows by the bytes that it sends."""
    sent: list[int] = []

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, port)) as behind:
                other = {self.request: behind, behind: self.request}
                while True:
                    for end in select.select([*other], [], [])[0]:
                        if not (content := end.recv(1 << 16)):
                            return
                        if end is behind:
                            sent.append(len(content))
                        other[end].sendall(content)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as forwarder:
        forwarder.daemon_threads = True
        threading.Thread(target=forwarder.serve_forever, daemon=True).start()
        yield forwarder.server_address[1], sent
        forwarder.shutdown()


LOOKS = """async (count) => {
    const script = `importScripts("${new URL("worker.js", location)}")`;
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    const ask = (ask, given) => new Promise((resolve, reject) => {
        worker.onmessage = ({ data: { answer, error } }) => error ? reject(new Error(error)) : resolve(answer);
        worker.postMessage({ id: 1, ask, given });
    });
    await ask("load", location.href);
    const found = [];
    const photo = await (await fetch("photo.jpg")).blob();
    for (let number = 0; number < count; number++) found.push((await ask("photo", { number, file: photo })).latencyMs);
    return found;
}"""


def camera(address: str, film: Path) -> str:
    """Return what the page says of its rate after a while."""
    device = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*device, f"--use-file-for-fake-video-capture={film}"]
        )
        page = browser.new_page()
        page.goto(address)
        page.locator("#status", has_text="Ready").wait_for(timeout=60_000)
        page.get_by_role("tab", name="Camera").click()
        page.get_by_role("button", name="Start the camera").click()
        page.wait_for_timeout(FILM_S * 1000)
        rate = page.locator("#rate").inner_text()
        settings = page.evaluate("document.getElementById('video').srcObject.getVideoTracks()[0].getSettings()")
        browser.close()
    return f"{rate}; {json.dumps({name: settings[name] for name in ('width', 'height', 'frameRate')})}"


if __name__ == "__main__":
    main()
