"""Many uploads at once: python -m tests.tools.web.load starts a server and prints what it stands and how fast it is."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

SAMPLES = Path(__file__).parents[3] / "samples"
VERDICTS = {
    "real_grace_hopper.jpg": "uncertain",
    "two_faces.jpg": "fake",
    "no_face_coffee.jpg": "no face",
    "real_astronaut.jpg": "real",
}
PHOTO = "real_grace_hopper.jpg"
WAIT_S = 60

Way = Callable[[httpx.Client, str, bytes], str]
"""How a picture is sent and its verdict had."""


@contextmanager
def server(*options: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server of its own process, and its address."""
    command = [sys.executable, "-m", "facetell.tools.cli", "serve", "--port", "0", "--rate", "100000", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            greeting = next(line for line in process.stderr if line.startswith("serving at"))
            yield greeting.split()[2].rstrip("/,"), psutil.Process(process.pid)
        finally:
            process.terminate()


def by_rest(client: httpx.Client, name: str, content: bytes) -> str:
    """As a program sends it."""
    answer = client.post("/v1/score", files={"file": (name, content)}).raise_for_status()
    return answer.json()["verdict"].replace("_", " ")


def by_page(client: httpx.Client, name: str, content: bytes) -> str:
    """As a browser sends it, with the pictures that the page then shows."""
    event = next(event for event in client.get("/config").json()["dependencies"] if event["api_name"] == "photo")
    (path,) = client.post("/gradio_api/upload", files={"files": (name, content)}).raise_for_status().json()
    file = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
    session = secrets.token_hex(8)
    joined = {"data": [file, None], "fn_index": event["id"], "session_hash": session}
    client.post("/gradio_api/queue/join", json=joined).raise_for_status()
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as lines:
        figures, pictures = next(_outputs(line) for line in lines.iter_lines() if "process_completed" in line)
    for picture in re.findall(r'<img src="([^"]+)"', pictures):
        client.get(picture).raise_for_status()
    return re.findall(r"<b>(.+?)</b>", figures)[0]


def _outputs(line: str) -> list[str]:
    return json.loads(line.removeprefix("data: "))["output"]["data"][1:]


def load(address: str, way: Way, uploads: int, clients: int) -> tuple[list[float], list[str]]:
    """Return the latencies in milliseconds of uploads by clients at once, and what went wrong."""
    names = list(VERDICTS)

    def upload(number: int) -> tuple[float, str]:
        name = names[number % len(names)]
        content = (SAMPLES / name).read_bytes()
        with httpx.Client(base_url=address, timeout=WAIT_S) as client:
            started = time.perf_counter()
            try:
                verdict = way(client, name, content)
            except Exception as error:
                verdict = repr(error)
            latency_ms = (time.perf_counter() - started) * 1000
        return latency_ms, "" if verdict == VERDICTS[name] else f"{name}: {verdict}"

    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(upload, range(uploads)))
    return [latency_ms for latency_ms, _ in done], [wrong for _, wrong in done if wrong]


def rss_mb(process: psutil.Process) -> float:
    """Return the memory of a process."""
    return process.memory_info().rss / 1e6


SHOWN_MS = """
async file => {
  const started = performance.now();
  const input = document.querySelector('input[type=file]:not([multiple])');
  const chosen = new DataTransfer();
  chosen.items.add(new File([await (await fetch(file)).blob()], 'photo.jpg', {type: 'image/jpeg'}));
  const before = performance.now();
  input.files = chosen.files;
  input.dispatchEvent(new Event('change', {bubbles: true}));
  const until = test => new Promise(resolve => {
    const look = () => test() ? resolve(performance.now() - before) : requestAnimationFrame(look);
    look();
  });
  const verdict = await until(() => document.querySelector('.card b'));
  const images = () => [...document.querySelectorAll('.pictures img')];
  const pictures = await until(() => images().length && images().every(image => image.complete && image.naturalWidth));
  return [verdict, pictures];
}
"""


def in_chromium(address: str, photo: Path, rounds: int) -> list[tuple[float, float]]:
    """Return the milliseconds from choosing a photo to its verdict, and to its pictures, on the screen."""
    from base64 import b64encode

    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        times = []
        for _ in range(rounds):
            page = browser.new_page()
            page.goto(address)
            page.get_by_role("tab", name="Photo").wait_for()
            page.wait_for_timeout(1000)  # it never falls silent: Gradio listens for news
            url = f"data:image/jpeg;base64,{b64encode(photo.read_bytes()).decode()}"
            times.append(tuple(page.evaluate(SHOWN_MS, url)))
            page.close()
        browser.close()
    return times


def _say(what: str, latencies_ms: list[float]) -> None:
    p50, p95 = statistics.median(latencies_ms), statistics.quantiles(latencies_ms, n=20)[-1]
    print(f"{what}: {len(latencies_ms)} times, p50 {p50:.0f} ms, p95 {p95:.0f} ms")


def main() -> None:
    """Print the figures of docs/performance.md."""
    import cv2

    with server() as (address, process), tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        cv2.imwrite(str(photo), cv2.resize(cv2.imread(str(SAMPLES / PHOTO)), (640, 480)))
        for name, way in (("REST", by_rest), ("page", by_page)):
            load(address, way, 800, 8)  # until as many sessions and results are kept as ever will be
            warm = rss_mb(process)
            for _ in range(3):
                latencies_ms, wrong = load(address, way, 200, 8)
                _say(f"{name}, 8 clients at once", latencies_ms)
                print(f"  wrong or lost: {wrong or 'none'}; memory {warm:.0f} -> {rss_mb(process):.0f} MB")
        with httpx.Client(base_url=address, timeout=WAIT_S) as client:
            for name, way in (("REST", by_rest), ("page", by_page)):
                latencies_ms = []
                for _ in range(50):
                    started = time.perf_counter()
                    way(client, PHOTO, photo.read_bytes())
                    latencies_ms.append((time.perf_counter() - started) * 1000)
                _say(f"{name}, one photo of 640 x 480", latencies_ms)
        times = in_chromium(address, photo, 20)
        _say("Chromium, to the verdict", [verdict for verdict, _ in times])
        _say("Chromium, to the pictures", [pictures for _, pictures in times])


if __name__ == "__main__":
    main()
