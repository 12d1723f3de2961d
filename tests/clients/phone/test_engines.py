"""The phone page in the three engines of browsers, Chromium, Firefox and WebKitGTK: its arithmetic is Python's."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.tools.phone.site import SITE, site_files, write_site

from ...pictures import SAMPLES, tree
from .engines import ENGINES, Run, missing

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[3] / "docs" / "golden.json").read_text(encoding="utf-8"))
OWN_CODE_BYTES = 40_000
BOX_PX, ROLL_DEGREES, P_FAKE = 1.0, 0.5, 0.002
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
    for name, content in with_profiles(read_image(SAMPLES / "real_astronaut.jpg")).items():
        (folder / "pictures" / name).write_bytes(content)
    shutil.copy(Path(__file__).with_name("golden.js"), phone_app)
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


def with_profiles(image: np.ndarray) -> dict[str, bytes]:
    """Return a picture's files by name with what makes browsers convert colours: an iPhone's profile, another gamma."""
    jpeg, png = io.BytesIO(), io.BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG", quality=95, icc_profile=display_p3())
    chunks = PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    Image.fromarray(image).save(png, "PNG", pnginfo=chunks)
    return {"display_p3.jpg": jpeg.getvalue(), "gamma.png": png.getvalue(), "p3_named.png": jpeg.getvalue()}


def display_p3() -> bytes:
    """Return the ICC profile of what iPhones save."""

    def fixed(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)

    def text(words: str) -> bytes:
        content = words.encode("utf-16-be")
        return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(content), 28) + content

    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    white = (0.9642, 1, 0.8249)
    points = {"wtpt": white, "rXYZ": (0.51512, 0.2412, -0.00105), "gXYZ": (0.29198, 0.69225, 0.04189)}
    points["bXYZ"] = (0.1571, 0.06657, 0.78407)
    tags = {"desc": text("Display P3"), "cprt": text("none")}
    tags |= {name: b"XYZ " + bytes(4) + fixed(*point) for name, point in points.items()}
    tags |= dict.fromkeys(("rTRC", "gTRC", "bTRC"), curve)
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name.encode(), 132 + 12 * len(tags) + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(">I", 128 + len(table) + len(body)) + bytes(4) + bytes([4, 0, 0, 0]) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(*white)
    return head.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("name", ["display_p3.jpg", "gamma.png", "p3_named.png"])
def test_colours_are_as_stored_whatever_a_profile_says(engine: Run, name: str) -> None:
    image = read_image(with_profiles(read_image(SAMPLES / "real_astronaut.jpg"))[name])
    assert engine(f"() => look({json.dumps(name)}, [])")["sha256"] == sha256(image)


@pytest.mark.parametrize("picture", [picture["file"] for picture in GOLDEN["pictures"]])
def test_a_browser_sees_what_python_sees(
    engine: Run, picture: str, detector: Detector, request: pytest.FixtureRequest
) -> None:
    tolerance = INEXACT.get(request.node.callspec.params["engine"], {}).get(picture)
    image = read_image(SAMPLES / picture)
    faces = sorted(detector.detect(image), key=lambda face: face.box_xyxy)
    crops = [detector.crop(image, face.box_xyxy, face.roll_degrees) for face in faces]
    squares = [{"box": face.box_xyxy, "roll": face.roll_degrees} for face in faces]
    seen = engine(f"() => look({json.dumps(picture)}, {json.dumps(squares)})")
    assert (seen["height"], seen["width"]) == image.shape[:2]
    if tolerance is None:
        assert seen["sha256"] == sha256(image)
        assert [crop["sha256"] for crop in seen["crops"]] == [sha256(crop) for crop in crops]
    p_fakes = [detector.score(crop) for crop in crops]
    assert [crop["pFake"] for crop in seen["crops"]] == pytest.approx(p_fakes, abs=tolerance or P_FAKE)
    found = sorted(seen["faces"], key=lambda face: face["box"])
    assert [face["box"] for face in found] == [pytest.approx(face.box_xyxy, abs=BOX_PX) for face in faces]
    assert [face["roll"] for face in found] == pytest.approx([face.roll_degrees for face in faces], abs=ROLL_DEGREES)
    assert [face["doubt"] for face in found] == [face.doubt for face in faces]
    assert [face["pFake"] for face in found] == [pytest.approx(face.p_fake, abs=tolerance or P_FAKE) for face in faces]


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


def test_our_own_code_is_small(phone_app: Path, tmp_path: Path) -> None:
    """As it ships: bundled and minified; LiteRT.js is not ours."""
    made = ["--bundle", "--minify", "--external:@litertjs/core", "--format=esm", f"--outdir={tmp_path}"]
    sources = ["src/main.js", "src/worker.js", "static/sw.js"]
    subprocess.run(["npx", "esbuild", *sources, *made, "--log-level=error"], cwd=phone_app, check=True)
    assert sum(len(content) for content in tree(tmp_path).values()) < OWN_CODE_BYTES


def unpacked(folder: Path) -> dict[str, bytes]:
    """What is in a folder, packed files as what they hold: another zlib may pack otherwise."""
    return {
        name: gzip.decompress(content) if name.endswith(".gz") else content for name, content in tree(folder).items()
    }
