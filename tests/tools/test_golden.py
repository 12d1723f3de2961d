"""docs/golden.json: it is what facetell computes, and the formulas of docs/mobile.md lead to it without OpenCV."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, FACE_DETECTOR, Bundle
from facetell.edge.detector import Detector
from facetell.edge.faces import FaceFinder
from facetell.edge.images import read_image
from facetell.edge.runtime import installed_runtimes
from facetell.edge.scan import expand_paths
from facetell.tools.make_golden import FORMAT, PATTERN, PROBES_XY, golden, pattern

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "golden.json").read_text(encoding="utf-8"))
TOLERANCES = GOLDEN["tolerances"]
PICTURES = [pytest.param(picture, id=picture["file"]) for picture in GOLDEN["pictures"]]
FOR_PORTS = ("enlarged.jpg", "grey_at_the_edge.jpg", "small_on_transparency.png")
INT8_TOLERANCE = TOLERANCES["p_fake_int8"] if GOLDEN["runtime"].split()[0] == installed_runtimes()[0] else 0.05


def faces_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [face for picture in values["pictures"] for face in picture["faces"]]


@pytest.fixture(scope="module")
def now(samples: Path) -> dict[str, Any]:
    """What facetell computes here, as it comes back from JSON."""
    return json.loads(json.dumps(golden(samples, DEFAULT_BUNDLE)))


def test_it_is_of_the_shipped_model(bundle: Bundle) -> None:
    again = "make it again with: python -m facetell.tools.make_golden samples models/default docs/golden.json"
    assert (GOLDEN["format"], GOLDEN["model"]) == (FORMAT, bundle.identity), again
    assert GOLDEN["sha256"] == {FACE_DETECTOR: hashlib.sha256(bundle.face_detector).hexdigest()} | {
        classifier.file: classifier.sha256 for classifier in bundle.classifiers.values()
    }, again


def test_it_lists_the_ten_samples(samples: Path) -> None:
    listed = {picture["file"]: picture["sha256"] for picture in GOLDEN["pictures"]}
    assert len(listed) == len(GOLDEN["pictures"]) == 10
    assert listed == {
        path.relative_to(samples).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in expand_paths([samples])
    }
    assert all((samples / name).stat().st_size < 150_000 for name in listed)
    assert len(faces_of(GOLDEN)) == 10


def test_boxes_and_squares(now: dict[str, Any]) -> None:
    for ours, listed in zip(now["pictures"], GOLDEN["pictures"], strict=True):
        assert (ours["width"], ours["height"]) == (listed["width"], listed["height"])
    for ours, listed in zip(faces_of(now), faces_of(GOLDEN), strict=True):
        assert ours["box_xyxy"] == pytest.approx(listed["box_xyxy"], abs=0.01)
        assert ours["square_xyxy"] == pytest.approx(listed["square_xyxy"], abs=0.01)
        assert ours["score"] == pytest.approx(listed["score"], abs=1e-3)


def test_crops_and_scores(now: dict[str, Any]) -> None:
    everything = zip([now["pattern"], *faces_of(now)], [GOLDEN["pattern"], *faces_of(GOLDEN)], strict=True)
    for ours, listed in everything:
        assert np.abs(np.subtract(ours["probes_rgb"], listed["probes_rgb"])).max() <= 1
        assert ours["p_fake"].keys() == listed["p_fake"].keys()
        for precision, p_fake in listed["p_fake"].items():
            tolerance = INT8_TOLERANCE if precision == "int8" else TOLERANCES["p_fake_float"]
            assert ours["p_fake"][precision] == pytest.approx(p_fake, abs=tolerance)


def test_verdicts_are_those_of_the_scores(bundle: Bundle) -> None:
    for seen in [GOLDEN["pattern"], *faces_of(GOLDEN)]:
        assert seen["verdict"] == {name: bundle.thresholds.verdict(p) for name, p in seen["p_fake"].items()}


def test_the_three_for_ports_show_what_they_are_for() -> None:
    faces = {picture["file"]: picture["faces"] for picture in GOLDEN["pictures"]}
    (shrunk,), (moved,), (small,) = (faces[f"ports/{name}"] for name in FOR_PORTS)
    assert shrunk["square_xyxy"][2] - shrunk["square_xyxy"][0] >= 2 * 224
    assert moved["box_xyxy"][0] < 0 == moved["square_xyxy"][0]
    assert small["box_xyxy"][2] - small["box_xyxy"][0] < 0.16 * 640


# A port: the formulas of docs/mobile.md in plain numpy


def bilinear(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample at all pairs of x (W,) and y (H,); pixels outside are black."""
    height, width = image.shape[:2]
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    x, y = np.clip(x + 1, 0, width + 0.999999), np.clip(y + 1, 0, height + 0.999999)
    j, i = x.astype(int), y.astype(int)
    fx, fy = (x - j)[None, :, None], (y - i)[:, None, None]
    above = padded[i][:, j] * (1 - fx) + padded[i][:, j + 1] * fx
    below = padded[i + 1][:, j] * (1 - fx) + padded[i + 1][:, j + 1] * fx
    return np.floor(above * (1 - fy) + below * fy + 0.5).astype(np.uint8)


def letterbox(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    side = max(height, width)
    at = np.arange(128) * side / 128
    return bilinear(image, (width - side) / 2 + at, (height - side) / 2 + at)


def crop(image: np.ndarray, box_xyxy: list[float]) -> np.ndarray:
    height, width = image.shape[:2]
    x_min, y_min, x_max, y_max = box_xyxy
    side = min(max(x_max - x_min, y_max - y_min), height, width)
    left = min(max((x_min + x_max) / 2, side / 2), width - side / 2) - side / 2
    top = min(max((y_min + y_max) / 2, side / 2), height - side / 2) - side / 2
    pitch = side / 224
    block = max(1, math.floor(pitch))
    x, y = (((edge + (np.arange(224) + 0.5) * pitch) / block - 0.5) for edge in (left, top))
    columns, rows = (np.arange(math.floor(at[0]) * block, (math.floor(at[-1]) + 2) * block) for at in (x, y))
    mirrored = image[mirror(rows, height)][:, mirror(columns, width)].astype(np.float64)
    blocks = mirrored.reshape(len(rows) // block, block, len(columns) // block, block, 3).mean(axis=(1, 3))
    return bilinear(np.floor(blocks + 0.5), x - math.floor(x[0]), y - math.floor(y[0]))


def mirror(at: np.ndarray, size: int) -> np.ndarray:
    return size - 1 - np.abs(size - 1 - np.abs(at))


@pytest.mark.parametrize("picture", PICTURES)
def test_the_formulas_lead_to_the_boxes(
    picture: dict[str, Any], bundle: Bundle, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facetell.edge.faces._letterbox", letterbox)
    finder = FaceFinder(bundle.face_detector, min_score=bundle.min_face_score)
    faces = finder.find(read_image(samples / picture["file"]))
    for ours, listed in zip(faces, picture["faces"], strict=True):
        assert ours.box_xyxy == pytest.approx(listed["box_xyxy"], abs=TOLERANCES["box_px"])


@pytest.mark.parametrize("picture", PICTURES)
def test_the_formulas_lead_to_the_crops_and_scores(picture: dict[str, Any], bundle: Bundle, samples: Path) -> None:
    detector = Detector(bundle, precision="float32")
    for face in picture["faces"]:
        ours = crop(read_image(samples / picture["file"]), face["box_xyxy"])
        probes = [ours[y, x].astype(int) for x, y in PROBES_XY]
        assert np.abs(np.subtract(probes, face["probes_rgb"])).max() <= TOLERANCES["crop_levels"]
        assert detector.score(ours) == pytest.approx(face["p_fake"]["float32"], abs=TOLERANCES["p_fake_from_file"])


def test_the_formula_of_the_pattern() -> None:
    assert GOLDEN["pattern"]["formula"] == PATTERN
    pixels = bytes(level for y in range(224) for x in range(224) for level in (x, y, 255 - abs(x - y)))
    assert pattern(224).tobytes() == pixels
    assert GOLDEN["pattern"]["crop_sha256"] == hashlib.sha256(pixels).hexdigest()
