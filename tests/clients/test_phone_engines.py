"""The phone page in the three engines of browsers, Chromium, Firefox and WebKitGTK: its arithmetic is Python's."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.tools.phone.site import SITE, site_files, write_site

from ..pictures import SAMPLES, tree
from .engines import ENGINES, Run, missing

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "golden.json").read_text(encoding="utf-8"))
BOX_PX, P_FAKE = 1.0, 0.002
INEXACT = {"webkit": {"ports/small_on_transparency.png": 0.01}}  # WebKit gives transparent pixels rounded


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(load_bundle(), precision="float32")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, phone_app: Path, serve: Any) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("golden")
    for name, content in site_files(load_bundle()).items():
        if name.startswith(("bundle/", "litert/")):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    shutil.copytree(SAMPLES, folder / "pictures")
    shutil.copy(Path(__file__).parent / "phone" / "golden.js", phone_app)
    bundled = ["--bundle", "--format=iife", f"--outfile={folder / 'golden.js'}"]
    subprocess.run(["npx", "esbuild", "golden.js", *bundled, "--log-level=error"], cwd=phone_app, check=True)
    (folder / "index.html").write_text("<!doctype html><title>golden</title><body><script src=golden.js></script>")
    with serve(folder) as url:
        yield url


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, address: str) -> Iterator[Run]:
    if lacks := missing(request.param):
        pytest.skip(f"{lacks} is not installed")
    with ENGINES[request.param](address) as run:
        yield run


@pytest.mark.parametrize("picture", [picture["file"] for picture in GOLDEN["pictures"]])
def test_a_browser_sees_what_python_sees(
    engine: Run, picture: str, detector: Detector, request: pytest.FixtureRequest
) -> None:
    tolerance = INEXACT.get(request.node.callspec.params["engine"], {}).get(picture)
    image = read_image(SAMPLES / picture)
    faces = sorted(detector.finder.find(image), key=lambda face: face.box_xyxy)
    crops = [detector.crop(image, face.box_xyxy) for face in faces]
    p_fakes = [detector.score(crop) for crop in crops]
    boxes = [face.box_xyxy for face in faces]
    seen = engine(f"() => look({json.dumps(picture)}, {json.dumps(boxes)})")
    assert (seen["height"], seen["width"]) == image.shape[:2]
    if tolerance is None:
        assert seen["sha256"] == sha256(image)
        assert [crop["sha256"] for crop in seen["crops"]] == [sha256(crop) for crop in crops]
    assert [crop["pFake"] for crop in seen["crops"]] == pytest.approx(p_fakes, abs=tolerance or P_FAKE)
    found = sorted(seen["faces"], key=lambda face: face["box"])
    assert [face["box"] for face in found] == [pytest.approx(box, abs=BOX_PX) for box in boxes]
    assert [face["pFake"] for face in found] == pytest.approx(p_fakes, abs=tolerance or P_FAKE)


TWO_PEOPLE = """async () => {
    const until = async (found) => { while (!found()) await new Promise((resolve) => setTimeout(resolve, 50)); };
    const button = (words) => [...document.querySelectorAll("button")].find(({ textContent }) => textContent === words);
    await until(() => document.getElementById("status").textContent.startsWith("Ready"));
    const chosen = new DataTransfer();
    chosen.items.add(new File(["no picture"], "broken.jpg", { type: "image/jpeg" }));
    document.getElementById("choose").files = chosen.files;
    document.getElementById("choose").dispatchEvent(new Event("change"));
    await until(() => document.getElementById("status").textContent.includes("cannot read that file"));
    button("two people").click();
    await until(() => button("Show where it looked"));
    button("Show where it looked").click();
    await until(() => document.querySelectorAll(".heat").length === 2);
    return [document.querySelector(".verdict h2").textContent, document.querySelectorAll(".box").length];
}"""


@pytest.mark.parametrize("name", ENGINES)
def test_the_page_works_in_every_engine(name: str, tmp_path: Path, serve: Any) -> None:
    if lacks := missing(name):
        pytest.skip(f"{lacks} is not installed")
    write_site(load_bundle(), tmp_path / "site")
    with serve(tmp_path / "site", policy=None) as address, ENGINES[name](address) as run:
        assert run(TWO_PEOPLE) == ["Looks fake", 2]


def sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def test_the_page_that_ships_is_made_of_these_sources(phone_app: Path) -> None:
    subprocess.run(["npm", "run", "build", "--silent"], cwd=phone_app, check=True)
    built, shipped = (unpacked(folder) for folder in (phone_app.parent / "site", SITE))
    assert built.keys() == shipped.keys(), "make it again with: make phone"
    assert [name for name in built if built[name] != shipped[name]] == [], "make it again with: make phone"


def unpacked(folder: Path) -> dict[str, bytes]:
    """What is in a folder, packed files as what they hold: another zlib may pack otherwise."""
    return {
        name: gzip.decompress(content) if name.endswith(".gz") else content for name, content in tree(folder).items()
    }
