"""The JavaScript of docs/mobile.md reads and cuts the pictures of docs/golden.json in headless Chromium.

Needs chromium (Debian's package of that name).
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.detector import Detector

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

DOCS = Path(__file__).parents[2] / "docs"
GOLDEN: dict[str, Any] = json.loads((DOCS / "golden.json").read_text(encoding="utf-8"))
(CROP_FACE,) = re.findall(
    r"```js\n(/\*\* Decodes .*?)```", (DOCS / "mobile.md").read_text(encoding="utf-8"), flags=re.DOTALL
)
CALL = """
async ([picture, boxes]) => {
  const read = await readPicture(await (await fetch(picture)).blob());
  return [read.width, read.height, boxes.map((box) => Array.from(cropFace(read, box)))];
}
"""


@pytest.fixture(scope="module")
def page() -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        page = chromium.new_page()
        page.add_script_tag(content=CROP_FACE)
        yield page
        chromium.close()


@pytest.mark.parametrize("picture", GOLDEN["pictures"], ids=lambda picture: picture["file"])
def test_a_browser_cuts_the_golden_faces(
    picture: dict[str, Any], page: sync_api.Page, samples: Path, bundle: Bundle
) -> None:
    content = base64.b64encode((samples / picture["file"]).read_bytes()).decode()
    boxes = [face["box_xyxy"] for face in picture["faces"]]
    width, height, crops = page.evaluate(CALL, [f"data:application/octet-stream;base64,{content}", boxes])
    assert (width, height) == (picture["width"], picture["height"])
    detector = Detector(bundle, precision="float32")
    for levels, face in zip(crops, picture["faces"], strict=True):
        crop = np.array(levels, np.uint8).reshape(224, 224, 3)
        probes = [crop[y, x].astype(int) for x, y in GOLDEN["probes_xy"]]
        assert np.abs(np.subtract(probes, face["probes_rgb"])).max() <= GOLDEN["tolerances"]["crop_levels"]
        tolerance = GOLDEN["tolerances"]["p_fake_from_file"]
        assert detector.score(crop) == pytest.approx(face["p_fake"]["float32"], abs=tolerance)
