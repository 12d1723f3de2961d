"""The files of a bundle in a browser: LiteRT.js in headless Chromium scores the same pictures as Python does.

Needs chromium and npm (Debian's packages of these names).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, EXPLAIN, FACE_DETECTOR
from facetell.edge.runtime import TFLiteModel

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import ConsoleMessage, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PAGE = Path(__file__).parent / "litert_js"
FILES = sorted(path.name for path in DEFAULT_BUNDLE.glob("*.tflite") if path.name not in (EXPLAIN, FACE_DETECTOR))


class Browser:
    """A page with LiteRT.js, and what went on in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", self._note)
        page.goto(f"{url}page.html")

    def score(self, file: str) -> np.ndarray:
        """Return [real, fake] of every picture."""
        return np.array(self.page.evaluate("file => score(`bundle/${file}`, 'pictures.rgb')", file))

    def _note(self, message: ConsoleMessage) -> None:
        # LiteRT.js writes its log to the console as errors.
        if message.type == "error" and not message.text.startswith(("INFO:", "WARNING:")):
            self.errors.append(message.text)


@pytest.fixture(scope="module")
def pictures(faces: np.ndarray) -> np.ndarray:
    """The faces as they are, upside down and as negatives, which have scores all over the scale."""
    return np.concatenate([faces, faces[:, ::-1], 255 - faces])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, phone_app: Path, pictures: np.ndarray) -> Path:
    """What the browser sees: the page, LiteRT.js, the bundle and the pictures."""
    site = tmp_path_factory.mktemp("site")
    for name in ("page.html", "page.js"):
        (site / name).symlink_to(PAGE / name)
    (site / "bundle").symlink_to(DEFAULT_BUNDLE)
    (site / "pictures.rgb").write_bytes(pictures.tobytes())
    core, utils = (phone_app / "node_modules" / "@litertjs" / name for name in ("core", "wasm-utils"))
    (site / "litert").mkdir()
    (site / "litert" / "wasm").symlink_to(core / "wasm")
    (site / "litert" / "utils.js").symlink_to(utils / "dist" / "index.js")
    # A bare name needs a bundler, or an inline import map, which the policy forbids.
    code = (core / "dist" / "index.js").read_text(encoding="utf-8")
    (site / "litert" / "index.js").write_text(code.replace('"@litertjs/wasm-utils"', '"./utils.js"'), encoding="utf-8")
    return site


@pytest.fixture(scope="module")
def browser(site: Path, serve: Callable[[Path], AbstractContextManager[str]]) -> Iterator[Browser]:
    with serve(site) as url, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        )
        yield Browser(chromium.new_page(), url)
        chromium.close()


@pytest.mark.parametrize("file", FILES)
def test_a_browser_gives_the_scores_that_python_gives(
    file: str, browser: Browser, faces: np.ndarray, pictures: np.ndarray
) -> None:
    model = TFLiteModel((DEFAULT_BUNDLE / file).read_bytes())
    expected = np.concatenate([model.run(picture[np.newaxis])[0] for picture in pictures])
    assert np.ptp(expected[:, 1]) > 0.5  # so that equal scores are not one and the same
    assert np.abs(browser.score(file) - expected).max() <= 1e-4


def test_the_page_needs_nothing_from_elsewhere(browser: Browser) -> None:
    browser.score("float32.tflite")
    assert any(request.endswith(".wasm") for request in browser.requests)
    assert [request for request in browser.requests if not request.startswith(browser.url)] == []
    assert browser.errors == []
