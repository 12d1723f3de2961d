"""The phone page in Chromium: for each test, a page that has asked nobody else for anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from facetell.edge.bundle import load_bundle
from facetell.tools.phone.site import write_site

from .pages import SIZES, is_ready, write_film


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


@pytest.fixture(scope="module")
def browser(film: Path) -> Iterator[Browser]:
    if not (chromium := shutil.which("chromium")):
        pytest.skip("chromium is not installed")
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*camera, f"--use-file-for-fake-video-capture={film}"]
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
