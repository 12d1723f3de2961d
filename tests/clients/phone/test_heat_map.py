"""Where the network looked, on the phone page."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image

from ...pictures import SAMPLES
from .pages import READY_MS, choose, choose_before, hold, start_camera


def test_where_it_looked_is_shown_and_hidden(page: Page) -> None:
    choose(page, SAMPLES / "two_faces.jpg")
    page.get_by_role("button", name="Show where it looked").click(timeout=READY_MS)
    expect(page.locator(".heat")).to_have_count(2, timeout=READY_MS)
    expect(page.get_by_text("Orange speaks for a fake")).to_be_visible()
    page.get_by_role("button", name="Hide where it looked").click()
    expect(page.locator(".heat")).to_have_count(0)


HEAT = """[...document.querySelectorAll(".heat")].map((canvas) =>
    [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].join())"""


def show_where_it_looked(page: Page) -> list[str]:
    page.get_by_role("button", name="Show where it looked").click(timeout=READY_MS)
    expect(page.locator(".heat").first).to_be_attached(timeout=READY_MS)
    return page.evaluate(HEAT)


def test_where_it_looked_is_of_the_photo_whatever_was_filmed_since(page: Page) -> None:
    choose(page, SAMPLES / "two_faces.jpg")
    before = show_where_it_looked(page)
    page.get_by_role("button", name="Hide where it looked").click()
    start_camera(page)
    expect(page.locator("#camera-said .verdict")).to_be_visible(timeout=READY_MS)
    page.get_by_role("tab", name="Photo").click()
    assert show_where_it_looked(page) == before


PLACE = """() => {
    const { left, top, width, height } = document.querySelector("#shown").getBoundingClientRect();
    const heat = document.querySelector(".heat"), box = heat.getBoundingClientRect();
    const middle = [(box.left + box.width / 2 - left) / width, (box.top + box.height / 2 - top) / height];
    return [...middle, heat.offsetWidth / width, parseFloat(heat.style.rotate)];
}"""


def test_a_heat_map_lies_over_a_tilted_face_as_the_face_does(page: Page, tmp_path: Path) -> None:
    with Image.open(SAMPLES / "real_grace_hopper.jpg") as image:
        image.rotate(20, Image.Resampling.BICUBIC).save(tmp_path / "tilted.png")
    image, detector = read_image(tmp_path / "tilted.png"), Detector(load_bundle())
    (face,) = detector.detect(image)
    square, (height, width) = detector.square(image, face.box_xyxy, face.roll_degrees), image.shape[:2]
    assert abs(square.roll_degrees) > 15
    choose(page, tmp_path / "tilted.png")
    show_where_it_looked(page)
    shown_px = square.side_px / max(1, detector.closeness(square, face.box_xyxy))
    wanted = [square.centre_x / width, square.centre_y / height, shown_px / width, square.roll_degrees]
    tolerances = (0.01, 0.01, 0.01, 1)
    assert page.evaluate(PLACE) == [pytest.approx(one, abs=by) for one, by in zip(wanted, tolerances, strict=True)]


LATE = """async () => {
    const script = `importScripts("${new URL("worker.js", location)}")`;
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    const ask = (ask, given) => new Promise((resolve) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.postMessage({ id: 1, ask, given });
    });
    const sample = async (name) => (await fetch(`samples/${name}.jpg`)).blob();
    await ask("load", location.href);
    await ask("photo", { number: 2, file: await sample("real") });
    const own = await ask("evidence", { number: 2, place: 0 });
    await ask("photo", { number: 1, file: await sample("fake") });
    const later = await ask("evidence", { number: 2, place: 0 });
    const older = await ask("evidence", { number: 1, place: 0 });
    return [String(own.answer.shares) === String(later.answer.shares), older.error];
}"""


def test_an_older_photo_that_comes_late_is_not_explained(page: Page) -> None:
    assert page.evaluate(LATE) == [True, "another photo was chosen"]


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
