"""The phone page in Chromium: what people do with it, and that nothing leaves the device."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.tools.phone.site import write_site

from ..pictures import SAMPLES

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

READY_MS = 60_000
SIZES = {"phone": (360, 740), "desktop": (1280, 900)}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("phone") / "site"
    write_site(load_bundle(), folder)
    with serve(folder, policy=None) as url:
        yield url


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the camera sees: a face that moves to and fro."""
    path = tmp_path_factory.mktemp("camera") / "face.y4m"
    write_film(path)
    return path


def write_film(path: Path, frames: int = 60) -> None:
    """Write what Chromium's camera shows, 60 frames a second: a face that moves to and fro."""
    face = cv2.resize(read_image(SAMPLES / "real_astronaut.jpg"), (440, 440))
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F60:1 Ip A0:0 C420jpeg\n")
        for number in range(frames):
            frame = np.full((480, 640, 3), 90, np.uint8)
            left = round(100 + 60 * np.sin(number / frames * 2 * np.pi))
            frame[20:460, left : left + 440] = face
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())


@pytest.fixture(scope="module")
def browser(film: Path) -> Iterator[Browser]:
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*camera, f"--use-file-for-fake-video-capture={film}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(permissions=["camera"])
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Page:
    """The page, ready; anything that it asks of another place, or complains of, fails the test."""
    page = context.new_page()
    page.on("request", lambda request: _check_own(request.url, address))
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(address)
    expect(page.get_by_role("status")).to_contain_text("Ready", timeout=READY_MS)
    return page


def _check_own(url: str, address: str) -> None:
    assert url.startswith((address, f"blob:{address}")), url


def choose(page: Page, path: Path) -> None:
    page.set_input_files("#choose", path)


def verdict(page: Page) -> Any:
    return page.locator("#photo-said .verdict")


PICTURES = {
    "real_astronaut.jpg": ("Looks real", 1),
    "fake_hopper_with_astronauts_face.jpg": ("Looks fake", 1),
    "two_faces.jpg": ("Looks fake", 2),
    "no_face_coffee.jpg": ("No face found", 0),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_photo_is_judged(page: Page, name: str) -> None:
    words, faces = PICTURES[name]
    choose(page, SAMPLES / name)
    expect(verdict(page).get_by_role("heading")).to_have_text(words, timeout=READY_MS)
    expect(page.locator("#photo-stage .box")).to_have_count(faces)


def test_the_boxes_are_pythons(page: Page) -> None:
    choose(page, SAMPLES / "real_turned_by_exif.jpg")
    expect(verdict(page)).to_be_visible(timeout=READY_MS)
    image = read_image(SAMPLES / "real_turned_by_exif.jpg")
    (face,) = Detector(load_bundle()).detect(image)
    stage, box = (page.locator(name).bounding_box() for name in ("#photo-stage", "#photo-stage .box"))
    assert stage is not None
    assert box is not None
    height, width = image.shape[:2]
    shown = ((box["x"] - stage["x"]) / stage["width"] * width, (box["y"] - stage["y"]) / stage["height"] * height)
    assert shown == pytest.approx(face.box_xyxy[:2], abs=2)


def test_where_it_looked_is_shown_and_hidden(page: Page) -> None:
    choose(page, SAMPLES / "two_faces.jpg")
    page.get_by_role("button", name="Show where it looked").click(timeout=READY_MS)
    expect(page.locator(".heat")).to_have_count(2, timeout=READY_MS)
    expect(page.get_by_text("Orange speaks for a fake")).to_be_visible()
    page.get_by_role("button", name="Hide where it looked").click()
    expect(page.locator(".heat")).to_have_count(0)


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)], ids=["empty", "text", "PNG"]
)
def test_what_is_no_picture_is_refused_and_the_next_is_taken(page: Page, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    choose(page, path)
    expect(page.get_by_role("status")).to_contain_text("cannot read that file", timeout=READY_MS)
    expect(page.locator("#photo-stage")).to_be_hidden()
    choose(page, SAMPLES / "real_astronaut.jpg")
    expect(verdict(page).get_by_role("heading")).to_have_text("Looks real", timeout=READY_MS)


def test_a_sample_is_a_click_away(page: Page) -> None:
    page.get_by_role("button", name="a face swap").click()
    expect(verdict(page).get_by_role("heading")).to_have_text("Looks fake", timeout=READY_MS)


def test_a_picture_can_be_pasted(page: Page) -> None:
    page.evaluate(
        """async () => {
            const blob = await (await fetch("samples/real.jpg")).blob();
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([blob], "real.jpg", { type: "image/jpeg" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }"""
    )
    expect(verdict(page).get_by_role("heading")).to_have_text("Looks real", timeout=READY_MS)


def test_the_camera_is_looked_at_until_it_is_stopped(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#camera-said").get_by_role("heading")).to_have_text("Looks real", timeout=READY_MS)
    expect(page.locator("#rate")).to_contain_text("looks a second")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#camera-stage")).to_be_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_the_camera_stops_when_the_tab_is_left(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    page.get_by_role("tab", name="Photo").click()
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_a_camera_that_is_not_allowed_is_said(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); }"
    )
    page.goto(address)
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_role("status")).to_contain_text("The camera is not allowed here", timeout=READY_MS)
    context.close()


def test_it_works_without_a_network_once_it_was_seen(page: Page, context: BrowserContext) -> None:
    expect(page.get_by_role("status")).to_contain_text("works without a network", timeout=READY_MS)
    context.set_offline(True)
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("Ready", timeout=READY_MS)
    choose(page, SAMPLES / "two_faces.jpg")
    page.get_by_role("button", name="Show where it looked").click(timeout=READY_MS)
    expect(page.locator(".heat")).to_have_count(2, timeout=READY_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(browser: Browser, address: str, phone_app: Path, size: str, scheme: Any) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(address)
    expect(page.get_by_role("status")).to_contain_text("Ready", timeout=READY_MS)
    choose(page, SAMPLES / "two_faces.jpg")
    expect(verdict(page)).to_be_visible(timeout=READY_MS)
    for details in page.locator("summary").all():
        details.click()
    page.add_script_tag(path=phone_app / "node_modules" / "axe-core" / "axe.min.js")
    found = page.evaluate("async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes[0].html])")
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_it_can_be_used_with_keys_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Light or dark")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") in ("light", "dark")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Camera")).to_be_focused()
    expect(page.locator("#camera")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    expect(page.locator("#choose")).to_be_focused()


def test_it_can_be_installed(page: Page, context: BrowserContext) -> None:
    expect(page.get_by_role("status")).to_contain_text("works without a network", timeout=READY_MS)
    session = context.new_cdp_session(page)
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert {error["errorId"] for error in errors} <= {"in-incognito"}  # as every page of a test is
