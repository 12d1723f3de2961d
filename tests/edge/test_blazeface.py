"""BlazeFace on one patch: what it is shown, what it finds; test_crop.py holds it to MediaPipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facetell.edge.blazeface import SIDE_PX, BlazeFace, letterbox
from facetell.edge.bundle import DEFAULT_BUNDLE, FACE_DETECTOR
from facetell.edge.errors import ModelError
from facetell.edge.faces import Square
from facetell.edge.images import read_image
from facetell.edge.runtime import installed_runtimes

MODEL = (DEFAULT_BUNDLE / FACE_DETECTOR).read_bytes()
BY_EYE = {
    "real_astronaut": ((177, 83, 273, 179), ((204, 102), (246, 104), (223, 127), (223, 146))),
    "real_grace_hopper": ((175, 150, 365, 340), ((222, 190), (305, 186), (268, 236), (271, 277))),
}
"""Box, right eye, left eye, nose and mouth, in pixels of the picture."""


def whole(image: np.ndarray, degrees: float = 0) -> Square:
    height, width = image.shape[:2]
    return Square(width / 2, height / 2, max(height, width), degrees)


# What it is shown


def test_a_picture_of_its_size_is_shown_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
    assert (letterbox(image, whole(image)) == image).all()


@pytest.mark.parametrize(("turns", "down", "right"), [(0, 0, 0), (1, 1, 0), (2, 1, 1), (3, 0, 1)])
def test_a_turned_square_is_shown_upright(turns: int, down: int, right: int) -> None:
    """A pixel off, for MediaPipe counts from corner to corner, and places points back by the same count."""
    image = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
    lying = np.ascontiguousarray(np.rot90(image, -turns))  # clockwise
    shown = letterbox(lying, whole(lying, 90 * turns))
    assert (shown[down:, right:] == image[: SIDE_PX - down, : SIDE_PX - right]).all()


def test_beyond_the_picture_it_is_black() -> None:
    image = np.full((64, 128, 3), 200, np.uint8)
    shown = letterbox(image, whole(image))
    assert (shown[33:95] == 200).all()
    assert (shown[:31] == 0).all()
    assert (shown[97:] == 0).all()
    assert (letterbox(image, Square(-500, -500, 50)) == 0).all()


# What it finds


@pytest.mark.parametrize("runtime", installed_runtimes())
@pytest.mark.parametrize("name", BY_EYE)
def test_the_box_and_the_points_are_on_the_face(name: str, runtime: str, samples: Path) -> None:
    image = read_image(samples / f"{name}.jpg")
    ((face, score),) = BlazeFace(MODEL, min_score=0.5, runtime=runtime)(letterbox(image, whole(image)))
    box_xyxy, points_xy = BY_EYE[name]
    assert (face.shape, face.dtype) == ((8, 2), np.float64)
    assert 0.8 < score <= 1
    scale = max(image.shape) / SIDE_PX
    near_px = 2.5 * scale  # of the patch's pixels, which are all that it sees
    in_square = face * scale - [(max(image.shape) - side) / 2 for side in image.shape[1::-1]]
    assert in_square[:2].ravel() == pytest.approx(np.array(box_xyxy), abs=near_px)
    assert in_square[2:6] == pytest.approx(np.array(points_xy), abs=near_px)


def test_the_best_come_first(samples: Path) -> None:
    image = read_image(samples / "two_faces.jpg")
    found = BlazeFace(MODEL, min_score=0.5)(letterbox(image, whole(image)))
    assert len(found) == 2
    assert found[0][1] >= found[1][1] > 0.8


@pytest.mark.parametrize(
    ("min_score", "is_found"), [(0.0, True), (0.5, True), (0.99, False), (1.0, False)], ids=["all", ".5", ".99", "1"]
)
def test_the_minimal_score(min_score: float, is_found: bool, astronaut: np.ndarray) -> None:
    found = BlazeFace(MODEL, min_score=min_score)(letterbox(astronaut, whole(astronaut)))
    assert bool(found) == is_found
    assert all(score >= min_score for _, score in found)


def test_a_lower_minimal_score_finds_the_same_face_first(astronaut: np.ndarray) -> None:
    patch = letterbox(astronaut, whole(astronaut))
    few, many = (BlazeFace(MODEL, min_score=min_score)(patch) for min_score in (0.5, 0.0))
    assert len(many) > len(few)
    assert many[0][1] == few[0][1]
    assert many[0][0] == pytest.approx(few[0][0], abs=0.5)  # boxes of low scores are averaged in


@pytest.mark.parametrize("level", [0, 127, 255])
def test_nothing_is_found_where_nothing_is(level: int) -> None:
    assert BlazeFace(MODEL, min_score=0.15)(np.full((SIDE_PX, SIDE_PX, 3), level, np.uint8)) == []


def test_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match="BlazeFace short range"):
        BlazeFace((DEFAULT_BUNDLE / "float32.tflite").read_bytes(), min_score=0.5)
