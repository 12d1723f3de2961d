"""The phone page in Chromium: what people do with it, and that nothing leaves the device."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.tools.phone.site import site_files, write_site

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
    context = browser.new_context(permissions=["camera"], reduced_motion="reduce")  # nothing scrolls as it is measured
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """The page, ready; what it or its workers ask of another place, and what it complains of, fails the test."""
    asked: list[str] = []
    complaints: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    is_ready(page)
    yield page
    assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == []
    assert complaints == []


@pytest.fixture
def plain_page(browser: Browser, address: str) -> Iterator[Page]:
    """The page in a browser that keeps nothing for offline: what is asked for, is asked of the server."""
    context = browser.new_context(permissions=["camera"], service_workers="block")
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def is_ready(page: Page, text: str = "Ready") -> None:
    expect(page.get_by_role("status")).to_contain_text(text, timeout=READY_MS)


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
    "content",
    [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50), (SAMPLES / "real_astronaut.jpg").read_bytes()[:-2000]],
    ids=["empty", "text", "PNG", "cut off"],
)
def test_what_is_no_picture_is_refused_and_the_next_is_taken(page: Page, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    choose(page, path)
    expect(page.get_by_role("status")).to_contain_text("cannot read that file", timeout=READY_MS)
    expect(page.locator("#photo-stage")).to_be_hidden()
    choose(page, SAMPLES / "real_astronaut.jpg")
    expect(verdict(page).get_by_role("heading")).to_have_text("Looks real", timeout=READY_MS)


@pytest.fixture
def small_page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, ready, on a phone."""
    width, height = SIZES["phone"]
    viewport: Any = {"width": width, "height": height}
    context = browser.new_context(viewport=viewport, has_touch=True, is_mobile=True, reduced_motion="reduce")
    page = context.new_page()
    page.goto(address)
    is_ready(page)
    yield page
    context.close()


@pytest.mark.parametrize("name", ["real_astronaut.jpg", "two_faces.jpg", "real_turned_by_exif.jpg"])
def test_the_verdict_and_the_photo_are_seen_on_a_phone(small_page: Page, name: str) -> None:
    page = small_page
    choose(page, SAMPLES / name)
    expect(verdict(page).get_by_role("heading")).to_be_in_viewport(timeout=READY_MS)
    expect(page.locator("#photo-stage")).to_be_in_viewport(ratio=0.5)
    expect(page.get_by_role("button", name="a face swap")).to_be_hidden()


Box = tuple[int, int, int, int]


def cut(path: Path, box: Box, width: int) -> Path:
    """Write a piece of the portrait, box being its left, top, right and bottom in percent, this wide."""
    with Image.open(SAMPLES / "real_astronaut.jpg") as image:
        left, top, right, bottom = (share * side // 100 for share, side in zip(box, image.size * 2, strict=True))
        piece = image.crop((left, top, right, bottom))
        piece.resize((width, round(width / piece.width * piece.height))).save(path)
    return path


@pytest.mark.parametrize("box", [(0, 0, 100, 100), (30, 0, 60, 45), (0, 5, 57, 38)])
@pytest.mark.parametrize("width", [90, 600])
def test_labels_stay_within_the_photo(small_page: Page, tmp_path: Path, box: Box, width: int) -> None:
    page = small_page
    choose(page, cut(tmp_path / "piece.png", box, width))
    expect(page.locator(".box span")).to_be_visible(timeout=READY_MS)
    stage, label = (page.locator(name).bounding_box() for name in ("#photo-stage", ".box span"))
    assert stage is not None
    assert label is not None
    assert stage["width"] >= 200
    for start, size in (("x", "width"), ("y", "height")):
        assert stage[start] - 0.5 <= label[start]
        assert label[start] + label[size] <= stage[start] + stage[size] + 0.5


def test_the_last_photo_goes_as_the_next_is_looked_at(plain_page: Page) -> None:
    page, held = plain_page, []
    choose(page, SAMPLES / "real_astronaut.jpg")
    expect(verdict(page)).to_be_visible(timeout=READY_MS)
    page.route("**/samples/two.jpg", lambda route: held.append(route))
    page.get_by_role("button", name="two people").click()
    is_ready(page, "Looking")
    expect(page.locator("#photo-stage")).to_be_hidden()
    expect(verdict(page)).to_have_count(0)


def test_thresholds_are_marked_and_said(page: Page) -> None:
    choose(page, SAMPLES / "real_astronaut.jpg")
    expect(verdict(page).locator(".bar b")).to_have_count(2, timeout=READY_MS)
    expect(page.locator("#about")).to_contain_text("It says fake from 95 %, real up to 28 %, and uncertain between.")


def test_one_threshold_leaves_nothing_uncertain(browser: Browser, tmp_path: Path, serve: Any) -> None:
    bundle = load_bundle()
    write_site(replace(bundle, thresholds=replace(bundle.thresholds, real=0.5, fake=0.5)), tmp_path / "site")
    page = browser.new_page()
    with serve(tmp_path / "site", policy=None) as url:
        page.goto(url)
        is_ready(page)
        expect(page.locator("#about")).to_contain_text("It says fake from 50 %, and real below.")
    page.close()


DROPPED = """(names) => {
    const dataTransfer = new DataTransfer();
    for (const name of names) dataTransfer.items.add(new File([window.photo], name));
    document.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
}"""


def test_what_is_dropped_with_a_photo_is_said(page: Page) -> None:
    page.evaluate(DROPPED, [])
    is_ready(page, "links and text are not looked at")
    page.evaluate("async () => { window.photo = await (await fetch('samples/real.jpg')).blob(); }")
    page.evaluate(DROPPED, ["one.jpg", "two.jpg"])
    is_ready(page, "Only the first of 2 files")


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


def test_what_the_camera_says_stays_on_its_tab(page: Page) -> None:
    page.evaluate("navigator.mediaDevices.getUserMedia = async () => { throw { name: 'NotFoundError' }; }; 0")
    page.get_by_role("tab", name="Camera").click()
    expect(page.get_by_text("nothing is recorded")).to_be_visible()
    page.get_by_role("button", name="Start the camera").click()
    is_ready(page, "No camera was found")
    page.get_by_role("tab", name="Photo").click()
    is_ready(page)
    page.get_by_role("tab", name="Camera").click()
    is_ready(page, "No camera was found")


def test_what_a_camera_needs_is_said_where_there_can_be_none(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.add_init_script("delete Navigator.prototype.mediaDevices")
    page.goto(address)
    page.get_by_role("tab", name="Camera").click()
    expect(page.get_by_text("need an https:// address")).to_be_visible()
    expect(page.get_by_role("button", name="Start the camera")).to_be_hidden()
    page.close()


def test_a_page_that_is_opened_from_disk_says_what_it_needs(browser: Browser, tmp_path: Path) -> None:
    write_site(load_bundle(), tmp_path / "site")
    page = browser.new_page()
    page.goto((tmp_path / "site" / "index.html").as_uri())
    expect(page.get_by_text("needs a web server")).to_be_visible()
    page.close()


BAD = {
    "bundle/float32.tflite": "the server does not give float32.tflite",
    "litert/litert.wasm": "a file of this page is missing or broken",
    "worker.js": "worker.js, a file of this page, is missing",
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_of_the_page_that_is_missing_is_said(plain_page: Page, name: str) -> None:
    plain_page.route(f"**/{name}", lambda route: route.fulfill(status=404))
    plain_page.reload()
    is_ready(plain_page, BAD[name])


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


HEAT = """[...document.querySelectorAll(".heat")].map((canvas) =>
    [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].join())"""


def show_where_it_looked(page: Page) -> list[str]:
    page.get_by_role("button", name="Show where it looked").click(timeout=READY_MS)
    expect(page.locator(".heat").first).to_be_attached(timeout=READY_MS)
    return page.evaluate(HEAT)


def start_camera(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()


def test_where_it_looked_is_of_the_photo_whatever_was_filmed_since(page: Page) -> None:
    choose(page, SAMPLES / "two_faces.jpg")
    before = show_where_it_looked(page)
    page.get_by_role("button", name="Hide where it looked").click()
    start_camera(page)
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    page.get_by_role("tab", name="Photo").click()
    assert show_where_it_looked(page) == before


LATE = """async () => {
    const script = `importScripts("${new URL("worker.js", location)}")`;
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    const ask = (ask, given) => new Promise((resolve) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.postMessage({ id: 1, ask, given });
    });
    const sample = async (name) => (await fetch(`samples/${name}.jpg`)).blob();
    await ask("load", location.href);
    const { answer: { faces: [{ box }] } } = await ask("photo", { number: 2, file: await sample("real") });
    const own = await ask("evidence", { number: 2, box });
    await ask("photo", { number: 1, file: await sample("fake") });
    const later = await ask("evidence", { number: 2, box });
    const older = await ask("evidence", { number: 1, box });
    return [String(own.answer.shares) === String(later.answer.shares), older.error];
}"""


def test_an_older_photo_that_comes_late_is_not_explained(page: Page) -> None:
    assert page.evaluate(LATE) == [True, "another photo was chosen"]


def hold(page: Page, files: str) -> list[Any]:
    """Keep back what the page asks for, and return a list that it comes into."""
    held: list[Any] = []
    page.route(files, lambda route: held.append(route))
    return held


def choose_before(page: Page, held: list[Any]) -> None:
    """Choose a photo, wait for its verdict, and let what is held come then."""
    while not held:
        page.wait_for_timeout(50)
    choose(page, SAMPLES / "real_astronaut.jpg")
    expect(verdict(page).get_by_role("heading")).to_have_text("Looks real", timeout=READY_MS)
    held[0].continue_()
    page.wait_for_timeout(1000)


def test_a_heat_map_that_comes_late_is_not_laid_over_another_photo(plain_page: Page) -> None:
    page, held = plain_page, hold(plain_page, "**/explain.tflite")
    choose(page, SAMPLES / "two_faces.jpg")
    page.get_by_role("button", name="Show where it looked").click(timeout=READY_MS)
    choose_before(page, held)
    expect(page.locator(".heat")).to_have_count(0)
    assert len(show_where_it_looked(page)) == 1


def test_a_heat_map_that_fails_is_said_and_can_be_asked_for_again(plain_page: Page) -> None:
    page = plain_page
    page.route("**/explain.tflite", lambda route: route.abort())
    choose(page, SAMPLES / "two_faces.jpg")
    button = page.get_by_role("button", name="Show where it looked")
    button.click(timeout=READY_MS)
    expect(page.get_by_text("Where it looked cannot be shown")).to_be_visible()
    expect(button).to_be_focused()
    page.unroute("**/explain.tflite")
    assert len(show_where_it_looked(page)) == 2
    expect(page.get_by_role("button", name="Hide where it looked")).to_be_focused()


REFUSED = """() => new Promise((resolve) => {
    addEventListener("securitypolicyviolation", ({ effectiveDirective }) => resolve(effectiveDirective));
    fetch("http://localhost:1/").catch(() => setTimeout(resolve, 3000, "nothing"));
})"""


def test_the_worker_can_reach_no_other_place(plain_page: Page) -> None:
    is_ready(plain_page)
    (worker,) = plain_page.workers
    assert worker.evaluate(REFUSED) == "connect-src"


def test_what_the_service_worker_asks_for_is_seen_here(context: BrowserContext, address: str) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url) if request.service_worker else None)
    page = context.new_page()
    page.goto(address)
    is_ready(page, "works without a network")
    assert f"{address}bundle/explain.tflite" in asked


def test_two_pages_of_one_web_space_keep_their_own(
    context: BrowserContext, tmp_path: Path, serve: Any, unlike: dict[str, bytes]
) -> None:
    write_site(load_bundle(), tmp_path / "one")
    write(tmp_path / "two", unlike)
    page = context.new_page()
    with serve(tmp_path, policy=None) as url:
        for name in ("one", "two"):
            page.goto(f"{url}{name}/")
            is_ready(page, "works without a network")
        assert len(page.evaluate("caches.keys()")) == 2
    for name in ("one", "two"):  # the server is gone
        page.goto(f"{url}{name}/index.html")
        is_ready(page)


def test_what_was_forgotten_is_kept_again_before_that_is_said(page: Page) -> None:
    is_ready(page, "works without a network")
    kept = "async () => (await (await caches.open((await caches.keys())[0])).keys()).length"
    files = page.evaluate(kept)
    page.evaluate("async () => Promise.all((await caches.keys()).map((name) => caches.delete(name)))")
    page.reload()
    is_ready(page, "works without a network")
    assert page.evaluate(kept) == files


WAITING = """async () => {
    while (!(await navigator.serviceWorker.getRegistration()).waiting) await new Promise((go) => setTimeout(go, 50));
}"""


def test_another_version_waits_until_no_page_is_open(
    context: BrowserContext, tmp_path: Path, serve: Any, unlike: dict[str, bytes]
) -> None:
    write_site(load_bundle(), tmp_path / "site")
    with serve(tmp_path / "site", policy=None) as url:
        page = context.new_page()
        page.goto(url)
        is_ready(page, "works without a network")
        write(tmp_path / "site", unlike)
        page.reload()
        page.evaluate(WAITING)
        expect(page.locator("#about")).to_contain_text("Model facetell")
        assert len(page.evaluate("caches.keys()")) == 2
        page.goto("about:blank")
        page.wait_for_timeout(1000)
        page.goto(url)
        is_ready(page, "works without a network")
        expect(page.locator("#about")).to_contain_text("unlike")
        assert len(page.evaluate("caches.keys()")) == 1


@pytest.fixture(scope="module")
def unlike() -> dict[str, bytes]:
    """The files of the page with another model, by name."""
    return site_files(replace(load_bundle(), name="unlike"))


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_a_verdict_is_announced(page: Page) -> None:
    expect(page.locator("#photo-said")).to_have_attribute("aria-live", "polite")


def test_the_focus_stays_on_the_cameras_buttons(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Start the camera")).to_be_focused()


def test_a_camera_can_be_stopped_while_the_detector_loads(plain_page: Page) -> None:
    page, held = plain_page, []
    page.route("**/float32.tflite", lambda route: held.append(route))
    page.reload()
    start_camera(page)
    expect(page.locator("#camera-stage")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    page.get_by_role("button", name="Start the camera").click()
    while not held:
        page.wait_for_timeout(50)
    held[0].continue_()
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)


def test_a_camera_that_is_pulled_out_is_said(page: Page) -> None:
    start_camera(page)
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    page.evaluate("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    is_ready(page, "The camera is gone.")
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    expect(page.locator("#camera .box")).to_have_count(0)


def test_a_camera_that_fails_midway_is_said(page: Page) -> None:
    start_camera(page)
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    page.evaluate("window.createImageBitmap = async () => { throw new Error('no frame'); }; 0")
    is_ready(page, "The camera does not work here: no frame.")
    expect(page.locator("#camera-stage")).to_be_hidden()


def test_the_first_words_are_no_verdict(page: Page) -> None:
    start_camera(page)
    expect(page.locator("#camera-said")).to_contain_text("Looking a little longer", timeout=READY_MS)


SECOND_WEBCAM = """() => {
    const { mediaDevices } = navigator, { enumerateDevices, getUserMedia } = mediaDevices;
    window.asked = [];
    mediaDevices.enumerateDevices = async () =>
        [...await enumerateDevices.call(mediaDevices), { kind: "videoinput", deviceId: "second" }];
    mediaDevices.getUserMedia = ({ video: { facingMode, deviceId } }) => {
        window.asked.push(deviceId?.exact ?? facingMode);
        return getUserMedia.call(mediaDevices, { video: true });
    };
}"""


def test_the_other_of_two_webcams_is_taken(page: Page) -> None:
    page.evaluate(SECOND_WEBCAM)
    start_camera(page)
    page.get_by_role("button", name="Other camera").click(timeout=READY_MS)
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    assert page.evaluate("window.asked") == ["user", "second"]


def test_it_works_where_nothing_may_be_kept(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    refuse = "{ get() { throw new DOMException('no', 'SecurityError'); } }"
    page.add_init_script(
        f"Object.defineProperty(window, 'localStorage', {refuse});"
        f"Object.defineProperty(Navigator.prototype, 'serviceWorker', {refuse});"
    )
    page.goto(address)
    is_ready(page)
    page.get_by_role("button", name="Light or dark").click()
    choose(page, SAMPLES / "real_astronaut.jpg")
    expect(verdict(page).get_by_role("heading")).to_have_text("Looks real", timeout=READY_MS)
    assert complaints == []
    context.close()


SHOWN = """() => {
    const canvas = document.getElementById("shown"), copy = document.createElement("canvas");
    Object.assign(copy, { width: canvas.width, height: canvas.height }).getContext("2d").drawImage(canvas, 0, 0);
    return [canvas.width, canvas.height, copy.getContext("2d").getImageData(0, 0, 1, 1).data[0]];
}"""


def test_what_is_shown_is_what_was_judged(page: Page, tmp_path: Path) -> None:
    bright, dark = (Image.new("RGB", (2400, 1200), (grey,) * 3) for grey in (250, 10))
    bright.save(tmp_path / "flash.gif", save_all=True, append_images=[dark], duration=[20, 60_000])
    choose(page, tmp_path / "flash.gif")
    expect(page.get_by_role("img", name="The photo that was looked at")).to_be_visible(timeout=READY_MS)
    page.wait_for_timeout(300)
    assert page.evaluate(SHOWN) == [1600, 800, 250]


def test_a_sample_that_comes_late_does_not_replace_a_photo(plain_page: Page) -> None:
    page = plain_page
    is_ready(page)
    held = hold(page, "**/samples/fake.jpg")
    page.get_by_role("button", name="a face swap").click()
    choose_before(page, held)
    expect(verdict(page).get_by_role("heading")).to_have_text("Looks real")


def test_a_sample_that_does_not_come_is_said(plain_page: Page) -> None:
    is_ready(plain_page)
    plain_page.route("**/samples/fake.jpg", lambda route: route.fulfill(status=503))
    plain_page.get_by_role("button", name="a face swap").click()
    is_ready(plain_page, "That photo could not be looked at: the server does not give fake.jpg")
