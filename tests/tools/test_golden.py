"""docs/golden.json: it is what facetell computes, and the formulas of docs/mobile.md lead to it without OpenCV."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facetell.edge.blazeface import BlazeFace
from facetell.edge.bundle import DEFAULT_BUNDLE, FACE_DETECTOR, Bundle
from facetell.edge.cut import face_square
from facetell.edge.detector import Detector
from facetell.edge.faces import Square
from facetell.edge.finder import HINT_SCORE, FaceFinder, is_sure
from facetell.edge.images import read_image
from facetell.edge.scan import expand_paths
from facetell.tools.make_golden import FORMAT, PATCH_PROBES_XY, PATTERN, PROBES_XY, golden, pattern

DOCS = Path(__file__).parents[2] / "docs"
GOLDEN: dict[str, Any] = json.loads((DOCS / "golden.json").read_text(encoding="utf-8"))
TOLERANCES = GOLDEN["tolerances"]
PICTURES = [pytest.param(picture, id=picture["file"]) for picture in GOLDEN["pictures"]]
FOR_PORTS = ("enlarged.jpg", "grey_at_the_edge.jpg", "small_on_transparency.png")


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


def test_it_lists_every_sample(samples: Path) -> None:
    listed = {picture["file"]: picture["sha256"] for picture in GOLDEN["pictures"]}
    assert len(listed) == len(GOLDEN["pictures"]) >= 10
    assert listed == {
        path.relative_to(samples).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in expand_paths([samples])
    }
    assert all((samples / name).stat().st_size < 220_000 for name in listed)
    assert len(faces_of(GOLDEN)) >= 10


def test_faces_and_squares(now: dict[str, Any]) -> None:
    for ours, listed in zip(now["pictures"], GOLDEN["pictures"], strict=True):
        for name in ("width", "height", "deciding_face", "too_small", "doubtful"):
            assert ours[name] == listed[name], (listed["file"], name)
        assert ours["looks"] == pytest.approx(listed["looks"], abs=2), listed["file"]
    for ours, listed in zip(faces_of(now), faces_of(GOLDEN), strict=True):
        assert ours["doubt"] == listed["doubt"]
        assert ours["box_xyxy"] == pytest.approx(listed["box_xyxy"], abs=0.05)
        np.testing.assert_allclose(ours["points_xy"], listed["points_xy"], atol=0.05)
        assert ours["roll_degrees"] == pytest.approx(listed["roll_degrees"], abs=0.05)
        assert ours["square"]["centre_xy"] == pytest.approx(listed["square"]["centre_xy"], abs=0.05)
        assert ours["square"]["side"] == pytest.approx(listed["square"]["side"], abs=0.05)
        assert ours["score"] == pytest.approx(listed["score"], abs=1e-3)


def test_crops_and_scores(now: dict[str, Any]) -> None:
    everything = zip([now["pattern"], *faces_of(now)], [GOLDEN["pattern"], *faces_of(GOLDEN)], strict=True)
    for ours, listed in everything:
        assert np.abs(np.subtract(ours["probes_rgb"], listed["probes_rgb"])).max() <= 2
        assert ours["p_fake"].keys() == listed["p_fake"].keys()
        for precision, p_fake in listed["p_fake"].items():
            assert ours["p_fake"][precision] == pytest.approx(p_fake, abs=TOLERANCES["p_fake"])


def test_verdicts_are_those_of_the_scores_and_uncertain_where_there_is_doubt(bundle: Bundle) -> None:
    for seen in [GOLDEN["pattern"], *faces_of(GOLDEN)]:
        assert seen["verdict"] == {
            name: "uncertain" if seen.get("doubt") else bundle.thresholds.verdict(p)
            for name, p in seen["p_fake"].items()
        }


def test_the_three_for_ports_show_what_they_are_for() -> None:
    faces = {picture["file"]: picture["faces"] for picture in GOLDEN["pictures"]}
    (shrunk,), (moved,), (small,) = (faces[f"ports/{name}"] for name in FOR_PORTS)
    assert shrunk["square"]["side"] >= 2 * 224
    assert moved["box_xyxy"][0] < 0 == pytest.approx(moved["square"]["centre_xy"][0] - moved["square"]["side"] / 2)
    assert small["box_xyxy"][2] - small["box_xyxy"][0] < 0.17 * 640


# A port: the formulas of docs/mobile.md in plain numpy


def square_of(face: dict[str, Any]) -> Square:
    return Square(*face["square"]["centre_xy"], face["square"]["side"], face["roll_degrees"])


def turned(square: Square, right: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x (H, W) and y (H, W) of all pairs of distances from the centre, (W,) and (H,), in the turned square."""
    cos, sin = math.cos(math.radians(square.roll_degrees)), math.sin(math.radians(square.roll_degrees))
    right, down = right[None, :], down[:, None]
    return square.centre_x + cos * right - sin * down, square.centre_y + sin * right + cos * down


def bilinear(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample at x (H, W) and y (H, W); pixels outside are black."""
    height, width = image.shape[:2]
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    x, y = np.clip(x + 1, 0, width + 0.999999), np.clip(y + 1, 0, height + 0.999999)
    j, i = x.astype(int), y.astype(int)
    fx, fy = (x - j)[..., None], (y - i)[..., None]
    above = padded[i, j] * (1 - fx) + padded[i, j + 1] * fx
    below = padded[i + 1, j] * (1 - fx) + padded[i + 1, j + 1] * fx
    return np.floor(above * (1 - fy) + below * fy + 0.5).astype(np.uint8)


def letterbox(image: np.ndarray, square: Square) -> np.ndarray:
    at = np.arange(128) * square.side_px / 128 - square.side_px / 2
    return bilinear(image, *turned(square, at, at))


def decoded(outputs: list[np.ndarray]) -> list[tuple[np.ndarray, float]]:
    """Return the faces in BlazeFace's outputs, each two corners and six points (8, 2), with its score."""
    rows = np.arange(896)
    cells = np.where(rows < 512, rows // 2, (rows - 512) // 6)
    side, pitch = np.where(rows < 512, 16, 8), np.where(rows < 512, 8, 16)
    anchors = np.stack([cells % side, cells // side], axis=1) * pitch[:, None] + pitch[:, None] / 2
    numbers, scores = outputs[0][0].reshape(896, 8, 2), 1 / (1 + np.exp(-np.clip(outputs[1][0, :, 0], -80, 80)))
    numbers = numbers + anchors[:, None] * (np.arange(8) != 1)[:, None]
    middle, half, points = numbers[:, :1], numbers[:, 1:2] / 2, numbers[:, 2:]
    faces, left, merged = np.concatenate([middle - half, middle + half, points], axis=1), set(range(896)), []
    for row in np.argsort(-scores):
        if scores[row] >= 0.2 and row in left:
            same = [other for other in left if scores[other] >= 0.2 and overlap(faces[row], faces[other]) > 0.3]
            merged.append((np.average(faces[same], axis=0, weights=scores[same]), float(scores[row])))
            left -= set(same)
    return merged


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    shared = np.prod(np.maximum(np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]), 0))
    return shared / (np.prod(one[1] - one[0]) + np.prod(other[1] - other[0]) - shared)


def crop(image: np.ndarray, square: Square) -> np.ndarray:
    height, width = image.shape[:2]
    pitch = square.side_px / 224
    block = max(1, math.floor(pitch))
    at = (np.arange(224) - 111.5) * pitch
    x, y = (edges / block - 0.5 for edges in turned(square, at, at))
    columns, rows = (np.arange(math.floor(of.min()) * block, (math.floor(of.max()) + 2) * block) for of in (x, y))
    mirrored = image[mirror(rows, height)][:, mirror(columns, width)].astype(np.float64)
    blocks = mirrored.reshape(len(rows) // block, block, len(columns) // block, block, 3).mean(axis=(1, 3))
    return bilinear(np.floor(blocks + 0.5), x - math.floor(x.min()), y - math.floor(y.min()))


def enlarged(pixels: np.ndarray, by: float) -> np.ndarray:
    at = 111.5 + (np.arange(224) - 111.5) / by
    return bilinear(pixels, *np.meshgrid(at, at))


def mirror(at: np.ndarray, size: int) -> np.ndarray:
    return size - 1 - np.abs(size - 1 - np.abs(at))


@pytest.mark.parametrize("picture", PICTURES)
def test_the_formulas_lead_to_the_first_look(picture: dict[str, Any], bundle: Bundle, samples: Path) -> None:
    image, listed = read_image(samples / picture["file"]), picture["first_look"]
    height, width = image.shape[:2]
    patch = letterbox(image, Square(width / 2, height / 2, max(width, height)))
    probes = [patch[y, x].astype(int) for x, y in PATCH_PROBES_XY]
    assert np.abs(np.subtract(probes, listed["probes_rgb"])).max() <= TOLERANCES["patch_levels"]
    model = BlazeFace(bundle.face_detector, min_score=HINT_SCORE).model
    found = decoded(model.run((patch[np.newaxis] / 127.5 - 1).astype(np.float32)))
    for (points, score), face in zip(found, listed["found"], strict=False):
        if face["score"] < 0.3:  # a hint may come and go with the rounding
            break
        assert score == pytest.approx(face["score"], abs=0.02)
        assert points[:2].ravel() == pytest.approx(face["box_xyxy"], abs=TOLERANCES["first_look_px"])
        np.testing.assert_allclose(points[2:], face["points_xy"], atol=TOLERANCES["first_look_px"])
    assert len(found) >= sum(face["score"] >= 0.3 for face in listed["found"])


# Without the one that shows none: something in it may look like a face where patches differ by a level.
@pytest.mark.parametrize("picture", [picture for picture in PICTURES if faces_of({"pictures": picture.values})])
def test_the_formulas_lead_to_the_faces(
    picture: dict[str, Any], bundle: Bundle, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facetell.edge.finder.letterbox", letterbox)
    finder = FaceFinder(BlazeFace(bundle.face_detector, min_score=HINT_SCORE))
    found = finder.find(read_image(samples / picture["file"]), smallest_px=bundle.min_face_px)
    faces = sorted(filter(is_sure, found), key=lambda face: face.box_xyxy)  # others may come and go with the rounding
    sure = [face for face in picture["faces"] if face["doubt"] != "may_not_be_a_face"]
    for ours, listed in zip(faces, sorted(sure, key=lambda face: face["box_xyxy"]), strict=True):
        assert ours.box_xyxy == pytest.approx(listed["box_xyxy"], abs=TOLERANCES["box_px"])
        assert ours.roll_degrees == pytest.approx(listed["roll_degrees"], abs=TOLERANCES["roll_degrees"])


@pytest.mark.parametrize("picture", PICTURES)
def test_the_formulas_lead_to_the_crops_and_scores(picture: dict[str, Any], bundle: Bundle, samples: Path) -> None:
    detector = Detector(bundle, precision="float32")
    for face in picture["faces"]:
        x_min, y_min, x_max, y_max = face["box_xyxy"]
        closeness = square_of(face).side_px / (bundle.shown_ratio * max(x_max - x_min, y_max - y_min))
        assert face["enlarged"] == pytest.approx(max(1, closeness), abs=TOLERANCES["enlarged"])
        ours = enlarged(crop(read_image(samples / picture["file"]), square_of(face)), closeness)
        probes = [ours[y, x].astype(int) for x, y in PROBES_XY]
        assert np.abs(np.subtract(probes, face["probes_rgb"])).max() <= TOLERANCES["crop_levels"]
        if face["doubt"] != "too_small":
            assert detector.score(ours) == pytest.approx(face["p_fake"]["float32"], abs=TOLERANCES["p_fake_from_file"])


def test_the_worked_example_is_of_this_code(bundle: Bundle, samples: Path) -> None:
    text = " ".join((DOCS / "mobile.md").read_text(encoding="utf-8").split())
    finder = FaceFinder(BlazeFace(bundle.face_detector, min_score=HINT_SCORE))
    image = read_image(samples / "ports" / "grey_at_the_edge.jpg")
    (face,) = finder.find(image, smallest_px=48)
    square = face_square(image, face.box_xyxy, margin_ratio=1)
    said = [
        re.search(rf"{words} ([-\d., ]+\d)", text) for words in ("and the box is", "so the roll is", "`cx` =", "`cy` =")
    ]
    numbers = [[float(number) for number in found[1].split(",")] for found in said if found]
    assert numbers == [
        pytest.approx(face.box_xyxy, abs=0.05),
        pytest.approx([face.roll_degrees], abs=0.05),
        pytest.approx([square.centre_x], abs=0.05),
        pytest.approx([square.centre_y], abs=0.05),
    ]


def test_the_formula_of_the_pattern() -> None:
    assert GOLDEN["pattern"]["formula"] == PATTERN
    pixels = bytes(level for y in range(224) for x in range(224) for level in (x, y, 255 - abs(x - y)))
    assert pattern(224).tobytes() == pixels
    assert GOLDEN["pattern"]["crop_sha256"] == hashlib.sha256(pixels).hexdigest()
