"""The phone page for everybody: keys, screen readers, colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ...pictures import SAMPLES
from .pages import READY_MS, SIZES, choose, start_camera, verdict


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


def test_a_verdict_is_announced(page: Page) -> None:
    expect(page.locator("#photo-said")).to_have_attribute("aria-live", "polite")


def test_the_focus_stays_on_the_cameras_buttons(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Start the camera")).to_be_focused()


def test_the_first_words_are_no_verdict(page: Page) -> None:
    start_camera(page)
    expect(page.locator("#camera-said")).to_contain_text("Looking a little longer", timeout=READY_MS)
