"""Photos on the phone page: chosen, pasted, dropped, broken, late."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.tools.phone.site import write_site

from ...pictures import SAMPLES
from .pages import READY_MS, choose, choose_before, hold, is_ready, verdict

HEADINGS = {"real": "Looks real", "fake": "Looks fake", "uncertain": "Uncertain", "no_face": "No face found"}
PICTURES = {
    "real_astronaut.jpg": 1,
    "fake_hopper_with_astronauts_face.jpg": 1,
    "two_faces.jpg": 2,
    "no_face_coffee.jpg": 0,
}


def as_in_python(name: str) -> str:
    """Return the heading of Python's verdict on a sample."""
    return HEADINGS[Detector(load_bundle()).scan_file(SAMPLES / name).verdict]


@pytest.mark.parametrize("name", PICTURES)
def test_a_photo_is_judged_as_in_python(page: Page, name: str) -> None:
    choose(page, SAMPLES / name)
    expect(verdict(page).get_by_role("heading")).to_have_text(as_in_python(name), timeout=READY_MS)
    expect(page.locator("#photo-stage .box")).to_have_count(PICTURES[name])


FOUND = """
onmessage = async ({ data: { id, ask } }) => {
    const about = { name: "m", version: "1", license: "none", thresholds: { real: 0.3, fake: 0.9 }, hasExplain: true };
    const photo = { faces: FACES, latencyMs: 1, shown: await createImageBitmap(new ImageData(640, 480)) };
    postMessage({ id, answer: { load: about, photo }[ask] ?? null });
};
"""
"""A worker that finds these FACES in any photo."""

NAMES = ("pFake", "verdict", "doubt")
REAL, FAKE = (0.1, "real", None), (0.95, "fake", None)
SMALL, DOUBTFUL, TURNED = (
    (None, "uncertain", "too_small"),
    (0.99, "uncertain", "may_not_be_a_face"),
    (0.97, "uncertain", "not_frontal"),
)

BORDERS = {"too_small": ("1px", "solid"), "may_not_be_a_face": ("3px", "dashed")}

# What is found: the heading, the labels at the boxes, what else is said, and whether there is a bar of the score
FINDINGS: dict[str, tuple[list[Any], str, list[str], list[str], bool]] = {
    "one face": ([REAL], "Looks real", ["Real"], ["The probability of a fake is 10 %."], True),
    "two that decide": (
        *([FAKE, REAL], "Looks fake", ["1: Fake", "2: Real"]),
        *(["The most suspicious of 2 faces decides.", "Face 2: looks real, 10 % fake"], True),
    ),
    "one that decides and others": (
        *([REAL, DOUBTFUL, SMALL, SMALL], "Looks real", ["Real", "may not be a face", *["too small to judge"] * 2]),
        *(["1 may not be a face (dashed frame).", "2 faces are too small to judge (thin frame)."], True),
    ),
    "a profile": (
        *([TURNED], "Uncertain", ["Uncertain"]),
        *(["The face is turned away or partly hidden."], False),
    ),
    "a profile beside a face": (
        *([TURNED, REAL], "Uncertain", ["1: Uncertain", "2: Real"]),
        *(["Face 1: uncertain, turned away or partly hidden", "Face 2: looks real, 10 % fake"], False),
    ),
    "nothing that decides": (
        *([DOUBTFUL, SMALL], "No face to judge", ["may not be a face", "too small to judge"]),
        *(["1 may not be a face (dashed frame).", "1 face is too small to judge (thin frame)."], False),
    ),
    "nothing": ([], "No face found", [], ["There is nothing to judge."], False),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_what_is_found_is_framed_and_said(plain_page: Page, name: str) -> None:
    found, heading, labels, words, has_bar = FINDINGS[name]
    page = plain_page
    faces = [
        dict(zip(NAMES, face, strict=True))
        | {"box": [x, 0.2, x + 0.24, 0.4], "square": [x, 0.2, x + 0.24, 0.4], "roll": 0}
        for x, face in zip((0, 0.25, 0.5, 0.75), found, strict=False)
    ]
    worker = FOUND.replace("FACES", json.dumps(faces))
    page.route("**/worker.js", lambda route: route.fulfill(body=worker, content_type="text/javascript"))
    page.reload()
    choose(page, SAMPLES / "real_astronaut.jpg")
    expect(verdict(page).get_by_role("heading")).to_have_text(heading, timeout=READY_MS)
    assert [text for text in page.locator(".box span").all_inner_texts() if text] == labels
    for piece in words:
        expect(verdict(page)).to_contain_text(piece)
    expect(verdict(page).locator(".bar")).to_have_count(int(has_bar))
    borders = page.evaluate("[...document.querySelectorAll('.box')].map((box) => getComputedStyle(box).borderTop)")
    kinds = [tuple(border.split()[:2]) for border in borders]
    assert kinds == [BORDERS.get(doubt, ("3px", "solid")) for _, _, doubt in found]
    button = page.get_by_role("button", name="Show where it looked")
    expect(button).to_have_count(int(bool(set(found) - {SMALL, DOUBTFUL})))


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


@pytest.mark.parametrize(("box", "width"), [((0, 0, 100, 100), 300), ((30, 0, 60, 45), 90), ((0, 5, 57, 38), 600)])
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
    fake, real = (round(100 * share) for share in (load_bundle().thresholds.fake, load_bundle().thresholds.real))
    rule = f"It says fake from {fake} %, real up to {real} %, and uncertain between."
    expect(page.locator("#about")).to_contain_text(rule)


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
    heading = as_in_python("fake_hopper_with_astronauts_face.jpg")
    expect(verdict(page).get_by_role("heading")).to_have_text(heading, timeout=READY_MS)


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
