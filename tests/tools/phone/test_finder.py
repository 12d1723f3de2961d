"""The phone page's search in node looks at the patches that edge/finder.py looks at, and finds the same faces."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from facetell.edge import faces, finder
from facetell.edge.blazeface import BlazeFace
from facetell.edge.bundle import Bundle
from facetell.edge.faces import Face
from facetell.edge.finder import HINT_SCORE, FaceFinder, is_sure
from facetell.edge.images import read_image

from ...pictures import SAMPLES
from .node import SOURCES, needs_node, picture, run

pytestmark = needs_node

FIND = """
import { createHash } from "node:crypto";
import { isFrontal, rollOf } from "./faces.js";
import { findFaces, isSure } from "./finder.js";
const looked = [];
const detect = async (patch) => {
    looked.push(createHash("sha256").update(patch).digest("hex"));
    return given.known[looked.at(-1)];
};
const faces = await findFaces(detect, pictureOf(given.picture), given.smallestPx);
answer({ looked, faces: faces.map((face) => [face, rollOf(face), isFrontal(face), isSure(face)]) });
"""


class Recorded:
    """BlazeFace, and what it was shown and gave."""

    def __init__(self, bundle: Bundle) -> None:
        self._blaze_face = BlazeFace(bundle.face_detector, min_score=HINT_SCORE)
        self.looked: list[str] = []
        self.known: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, patch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        found = self._blaze_face(patch)
        self.looked.append(hashlib.sha256(patch.tobytes()).hexdigest())
        self.known[self.looked[-1]] = [{"points": points.tolist(), "score": score} for points, score in found]
        return found


def sample(name: str) -> np.ndarray:
    return read_image(SAMPLES / name)


def wall() -> np.ndarray:
    """Faces from 30 to 60 pixels, some tilted, in a picture in which none is a tenth of the longer side."""
    face = sample("real_astronaut.jpg")[30:230, 125:325]
    canvas = np.full((900, 1200, 3), 128, np.uint8)
    for number, (y, x) in enumerate(np.ndindex(5, 7)):
        side = 60 + 10 * x
        turn = cv2.getRotationMatrix2D((100, 100), 15 * (number % 3 - 1), 1)
        turned = cv2.warpAffine(face, turn, (200, 200), borderMode=cv2.BORDER_REFLECT)
        canvas[20 + 170 * y :, 20 + 165 * x :][:side, :side] = cv2.resize(
            turned, (side, side), interpolation=cv2.INTER_AREA
        )
    return canvas


def tilted(degrees: float) -> np.ndarray:
    image = sample("real_grace_hopper.jpg")
    height, width = image.shape[:2]
    return cv2.warpAffine(image, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 0.8), (width, height))


def blurred() -> np.ndarray:
    """A small face that is upside down, seems upright, and is surer in a look upside down."""
    canvas = np.full((864, 1152, 3), 120, np.uint8)
    face = cv2.resize(sample("group.jpg")[309:87:-1, 923:701:-1], (60, 60), interpolation=cv2.INTER_AREA)
    canvas[240:420, 340:520] = cv2.resize(face, (180, 180), interpolation=cv2.INTER_CUBIC)
    return canvas


PICTURES: dict[str, tuple[Callable[[], np.ndarray], float | None, int]] = {
    "a clear portrait": (partial(sample, "real_grace_hopper.jpg"), 48, 1),
    "a face at the edge": (partial(sample, "ports/grey_at_the_edge.jpg"), 48, 1),
    "two faces": (partial(sample, "two_faces.jpg"), 48, 2),
    "tilted by 25 degrees": (partial(tilted, 25), 48, 1),
    "on its side": (lambda: np.rot90(sample("real_astronaut.jpg")).copy(), 48, 1),
    "upside down": (lambda: sample("real_astronaut.jpg")[::-1, ::-1].copy(), 48, 1),
    "blurred and upside down": (blurred, 48, 1),
    "a wall of small faces": (wall, 30, 25),
    "the same without the search for small faces": (wall, None, 0),
    "nothing but coffee": (partial(sample, "no_face_coffee.jpg"), 48, 0),
    "one pixel high": (lambda: np.zeros((1, 3000, 3), np.uint8), 48, 0),
}


@pytest.mark.parametrize("name", PICTURES)
def test_both_look_at_the_same_patches_and_find_the_same_faces(bundle: Bundle, name: str) -> None:
    make, smallest_px, at_least = PICTURES[name]
    image, detect = make(), Recorded(bundle)
    found = FaceFinder(detect).find(image, smallest_px=smallest_px)
    seen = run(FIND, {"picture": picture(image), "smallestPx": smallest_px, "known": detect.known})
    assert seen["looked"] == detect.looked
    assert [as_python(*face) for face in seen["faces"]] == [as_given(face) for face in found]
    assert sum(map(is_sure, found)) >= at_least


def as_python(face: dict[str, Any], roll: float, is_frontal: bool, is_sure: bool) -> Any:
    numbers = [*face["box"], *(edge for point in face["points"] for edge in point), face["score"], roll]
    return pytest.approx(numbers, abs=1e-9), is_frontal, is_sure


def as_given(face: Face) -> Any:
    numbers = [*face.box_xyxy, *(edge for point in face.points_xy for edge in point), face.score, face.roll_degrees]
    return numbers, face.is_frontal, is_sure(face)


@pytest.mark.parametrize("module", [faces, finder], ids=["faces", "finder"])
def test_the_numbers_are_pythons(module: ModuleType) -> None:
    name = module.__name__.rsplit(".", maxsplit=1)[-1]
    numbers = dict(re.findall(r"\b([A-Z_]+) = ([\d.]+)[;,]", (SOURCES / f"{name}.js").read_text(encoding="utf-8")))
    assert len(numbers) >= 3
    assert {name: float(number) for name, number in numbers.items()} == {
        name: vars(module).get(name, vars(module).get(f"_{name}")) for name in numbers
    }


DECODE = """
import { facesOf, inputOf } from "./blazeface.js";
const [regressors, logits] = [given.regressors, given.logits].map((numbers) => Float32Array.from(numbers));
answer({ input: [...inputOf(Uint8Array.from(given.patch))], faces: facesOf(regressors, logits, given.minScore) });
"""


def test_outputs_become_the_faces_of_python(bundle: Bundle) -> None:
    patch = cv2.resize(wall()[:400, :400], (128, 128), interpolation=cv2.INTER_AREA)
    detect = BlazeFace(bundle.face_detector, min_score=HINT_SCORE)
    wanted = detect(patch)
    shown = (patch / np.float32(127.5) - 1).astype(np.float32)
    regressors, logits = detect.model.run(shown[np.newaxis])
    outputs = {"regressors": regressors.ravel().tolist(), "logits": logits.ravel().tolist()}
    seen = run(DECODE, outputs | {"patch": patch.ravel().tolist(), "minScore": HINT_SCORE})
    assert seen["input"] == shown.ravel().tolist()
    assert len(seen["faces"]) == len(wanted) > 1
    for face, (points, score) in zip(seen["faces"], wanted, strict=True):
        np.testing.assert_allclose(face["points"], points, atol=1e-3)
        assert face["score"] == pytest.approx(score, abs=1e-6)
