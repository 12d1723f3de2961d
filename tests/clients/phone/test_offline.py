"""The phone page without a network, with another version, or with files missing; and that it asks nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from facetell.edge.bundle import load_bundle
from facetell.tools.phone.site import site_files, write_site

from ...pictures import SAMPLES
from .pages import READY_MS, choose, is_ready, verdict


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


def test_it_can_be_installed(page: Page, context: BrowserContext) -> None:
    expect(page.get_by_role("status")).to_contain_text("works without a network", timeout=READY_MS)
    session = context.new_cdp_session(page)
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert {error["errorId"] for error in errors} <= {"in-incognito"}  # as every page of a test is


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
