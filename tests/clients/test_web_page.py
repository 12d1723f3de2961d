"""The web app in headless Chromium: what a person does with it, and that nothing goes anywhere else.

Needs chromium (Debian's package of this name) and playwright.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("gradio", reason="the extra web is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.tools.web.texts import NO_FACE

from ..pictures import write_video
from ..program import FACETELL

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

WAIT_MS = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    history = tmp_path_factory.mktemp("web") / "history.sqlite"
    command = [*FACETELL, "serve", "--port", "0", "--history", history]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        greeting = next(line for line in process.stderr if line.startswith("serving at"))
        yield greeting.split()[2]
        process.terminate()


@pytest.fixture(scope="module")
def browser(portrait: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows a face."""
    film = write_video(tmp_path_factory.mktemp("camera") / "face.avi", [cv2.resize(portrait, (640, 480))] * 20, "MJPG")
    frames = film.read_bytes().split(b"\xff\xd8")[1:]
    camera = film.with_suffix(".mjpeg")
    camera.write_bytes(b"".join(b"\xff\xd8" + frame[: frame.rindex(b"\xff\xd9") + 2] for frame in frames))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def portrait(astronaut: np.ndarray) -> np.ndarray:
    return cv2.resize(astronaut[0:300, 50:450], (320, 240))


@pytest.fixture(scope="module")
def p_fake(samples: Path) -> float:
    """What the two faces are worth."""
    found = Detector(load_bundle()).scan_file(samples / "two_faces.jpg").p_fake
    assert found is not None
    return found


@pytest.fixture
def page(address: str, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    requests: list[str] = []
    refused: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("response", lambda response: refused.append(response.url) if response.status >= 400 else None)
    page.goto(address)
    page.get_by_role("tab", name="Photo").wait_for(timeout=WAIT_MS)
    yield page
    context.close()
    elsewhere = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert (elsewhere, refused) == ([], [])


def upload(page: Page, *paths: Path) -> None:
    kind = "[multiple]" if len(paths) > 1 else f"[accept*='{paths[0].suffix}']"
    page.locator(f"input[type=file]{kind}:not([webkitdirectory])").first.set_input_files(list(paths))


def shown(page: Page, words: str) -> Locator:
    found = page.get_by_text(words).locator("visible=true").first
    found.wait_for(timeout=WAIT_MS)
    return found


def test_a_photo_with_two_faces(page: Page, samples: Path, tmp_path: Path, p_fake: float) -> None:
    upload(page, samples / "two_faces.jpg")
    shown(page, "The most suspicious of 2 faces decides")
    assert page.locator(".card.fake b").all_inner_texts()[:2] == ["fake", f"{p_fake:.1%}"]
    assert page.locator(".bar").all_inner_texts() == [f"real\n{1 - p_fake:.1%}", f"fake\n{p_fake:.1%}"]
    for part in ("faces", "sheet"):
        picture = page.locator(f"img[src*='/{part}.jpg']")
        picture.wait_for(timeout=WAIT_MS)
        page.wait_for_function("image => image.complete && image.naturalWidth > 400", arg=picture.element_handle())
    with page.expect_download() as download:
        page.get_by_text("PDF report").click()
    download.value.save_as(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("name", "words"),
    [("no_face_coffee.jpg", NO_FACE), ("bad.jpg", "It could not be read: not a picture")],
)
def test_a_picture_without_a_verdict(name: str, words: str, page: Page, samples: Path, tmp_path: Path) -> None:
    path = samples / name
    if not path.exists():
        path = tmp_path / name
        path.write_text("no picture")
    upload(page, path)
    shown(page, words)


def test_a_sample(page: Page, samples: Path) -> None:
    for _ in range(2):
        page.get_by_text("two_faces.jpg").last.click()
        shown(page, "The most suspicious of 2 faces decides")
        page.get_by_label("Clear").or_(page.get_by_label("Remove")).first.click()
        shown(page, "Here each face will be framed")
    assert (samples / "two_faces.jpg").exists()


def test_a_threshold_of_ones_own(page: Page, samples: Path, p_fake: float) -> None:
    upload(page, samples / "two_faces.jpg")
    shown(page, f"{p_fake:.1%}")
    page.get_by_text("Threshold of photos and batches: the model's own").click()
    page.get_by_label("The model's own two").uncheck()
    shown(page, "of real faces fake")
    shown(page, "Threshold of photos and batches: fake from 0.5")
    page.locator("img[src*='threshold=0.5']").first.wait_for(timeout=WAIT_MS)


def test_a_batch(page: Page, samples: Path) -> None:
    page.get_by_role("tab", name="Folder/batch").click()
    upload(page, *(samples / name for name in ("real_astronaut.jpg", "no_face_coffee.jpg", "two_faces.jpg")))
    page.locator("table.faces tr").nth(3).wait_for(timeout=WAIT_MS)
    rows = [row.inner_text().split("\t")[:2] for row in page.locator("table.faces tr").all()]
    assert rows[1:] == [["no_face_coffee.jpg", "no face"], ["real_astronaut.jpg", "real"], ["two_faces.jpg", "fake"]]


def test_a_video(page: Page, portrait: np.ndarray, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Video").click()
    upload(page, write_video(tmp_path / "clip.mp4", [portrait] * 20))
    shown(page, "Looks real")
    video = page.locator("video.video")
    video.wait_for(timeout=WAIT_MS)
    page.wait_for_function("video => video.readyState >= 1 && video.videoWidth === 320", arg=video.element_handle())


def test_the_webcam(page: Page) -> None:
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_text("Click to Access Webcam").click(timeout=WAIT_MS)
    page.get_by_text("Record", exact=True).click(timeout=WAIT_MS)
    picture = page.get_by_alt_text("the camera's picture with its faces framed")
    picture.wait_for(timeout=WAIT_MS)
    page.wait_for_function("image => image.naturalWidth > 100", arg=picture.element_handle(), timeout=WAIT_MS)
    for _ in range(3):  # it goes on
        before = picture.get_attribute("src")
        page.wait_for_function("before => !document.querySelector(`img[src='${before}']`)", arg=before, timeout=WAIT_MS)


def test_light_and_dark(page: Page) -> None:
    was_dark = "dark" in (page.locator("body").get_attribute("class") or "")
    page.get_by_text("light / dark").click()
    assert ("dark" in (page.locator("body").get_attribute("class") or "")) != was_dark
    page.reload()
    page.get_by_role("tab", name="Photo").wait_for(timeout=WAIT_MS)
    time.sleep(0.5)
    assert ("dark" in (page.locator("body").get_attribute("class") or "")) != was_dark


def test_the_history_is_searched_and_deleted(page: Page, samples: Path) -> None:
    upload(page, samples / "real_astronaut.jpg")
    shown(page, "Looks real")
    page.get_by_role("tab", name="History").click()
    shown(page, "real_astronaut.jpg")
    page.get_by_label("Search").fill("nothing like it")
    shown(page, "Nothing matches nothing like it")
    page.get_by_label("Search").fill("")
    page.locator("button.label-wrap", has_text="Delete").click()
    page.get_by_label("I am sure").check()
    page.get_by_role("button", name="Delete all").click()
    shown(page, "Nothing here yet")


def test_it_fits_a_phone(address: str, browser: Browser, samples: Path, p_fake: float) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(address)
    page.get_by_role("tab", name="Photo").wait_for(timeout=WAIT_MS)
    upload(page, samples / "two_faces.jpg")
    shown(page, f"{p_fake:.1%}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()
