"""What people do with the phone page, in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Page, expect

from facetell.edge.images import read_image

from ...pictures import SAMPLES

READY_MS = 60_000


SIZES = {"phone": (360, 740), "desktop": (1280, 900)}


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


def is_ready(page: Page, text: str = "Ready") -> None:
    expect(page.get_by_role("status")).to_contain_text(text, timeout=READY_MS)


def choose(page: Page, path: Path) -> None:
    page.set_input_files("#choose", path)


def verdict(page: Page) -> Any:
    return page.locator("#photo-said .verdict")


def start_camera(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()


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
