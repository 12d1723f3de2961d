"""The phone page's pixels in node are those of edge/blazeface.py and edge/cut.py, byte by byte."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from facetell.edge.blazeface import letterbox
from facetell.edge.cut import closer, crop_face, cut_square, face_square
from facetell.edge.faces import Square

from .node import needs_node, picture, run

pytestmark = needs_node

WIDTH, HEIGHT = 640, 480

SQUARES = {
    "upright": Square(320, 240, 224),
    "between pixels": Square(319.37, 241.81, 199.3),
    "enlarged": Square(320, 240, 50.5),
    "shrunk by blocks of 2": Square(300, 230, 448.7),
    "tilted": Square(320, 240, 180.2, 25.3),
    "tilted the other way and shrunk": Square(310, 250, 470, -12.75),
    "on its side": Square(320, 240, 150.4, 90),
    "on its other side": Square(320, 240, 150.4, -90),
    "upside down": Square(320, 240, 300, 180),
    "over the edge": Square(20, 460, 160, 45),
    "the whole width": Square(320, 240, 640),
    "almost nothing": Square(100.2, 100.7, 1.5, 10),
}

PIXELS = """
import { closer, cutSquare, faceSquare, letterbox } from "./pixels.js";
const whole = pictureOf(given.picture);
answer(given.squares.map(({ box, margin, size, closeness, ...square }) => {
    const crop = closer(cutSquare(whole, faceSquare(whole, box, margin, square.roll), size), size, closeness);
    return [letterbox(whole, square), crop].map(base64);
}));
"""


def box_of(square: Square) -> tuple[float, float, float, float]:
    x, y, half = square.centre_x, square.centre_y, square.side_px / 2
    return x - half, y - half, x + half, y + half


@pytest.mark.parametrize(
    ("margin_ratio", "size_px", "closeness"), [(1.0, 224, 1.0), (1.5, 224, 0.9), (1.5, 224, 1.5 / 1.3), (1.3, 96, 1.2)]
)
def test_patches_and_crops_are_pythons(margin_ratio: float, size_px: int, closeness: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    squares: list[dict[str, Any]] = [
        {"centreX": square.centre_x, "centreY": square.centre_y, "side": square.side_px, "roll": square.roll_degrees}
        | {"box": box_of(square), "margin": margin_ratio, "size": size_px, "closeness": closeness}
        for square in SQUARES.values()
    ]
    seen = run(PIXELS, {"picture": picture(noise), "squares": squares})
    for (name, square), (patch, crop) in zip(SQUARES.items(), seen, strict=True):
        assert base64.b64decode(patch) == letterbox(noise, square).tobytes(), name
        whole = face_square(noise, box_of(square), margin_ratio=margin_ratio, roll_degrees=square.roll_degrees)
        wanted = closer(cut_square(noise, whole, size_px=size_px), closeness)
        assert base64.b64decode(crop) == wanted.tobytes(), name


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (2, 90)])
def test_tiny_pictures_are_mirrored_as_in_python(width: int, height: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    square = {"centreX": width / 2, "centreY": height / 2, "side": max(width, height), "roll": 30}
    box = (0.0, 0.0, float(width), float(height))
    ((_, crop),) = run(
        PIXELS, {"picture": picture(noise), "squares": [square | {"box": box, "margin": 1, "size": 64, "closeness": 1}]}
    )
    wanted = crop_face(noise, box, size_px=64, margin_ratio=1, roll_degrees=30)
    assert base64.b64decode(crop) == wanted.tobytes()
