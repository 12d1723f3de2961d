"""Every face in a picture: the tilted, the turned, the small and the many; and what is no face."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.edge.blazeface import SIDE_PX, BlazeFace
from facetell.edge.bundle import DEFAULT_BUNDLE, FACE_DETECTOR
from facetell.edge.cut import crop_face
from facetell.edge.faces import Face
from facetell.edge.finder import HINT_SCORE, FaceFinder, is_sure
from facetell.edge.images import read_image

from ..pictures import FACES, turned

JUDGED_PX = 48


class Counting:
    """A BlazeFace that counts how often it is asked."""

    def __init__(self) -> None:
        self.looks = 0
        self._detect = BlazeFace((DEFAULT_BUNDLE / FACE_DETECTOR).read_bytes(), min_score=HINT_SCORE)

    def __call__(self, patch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        self.looks += 1
        return self._detect(patch)


@pytest.fixture(scope="module")
def blazeface() -> Counting:
    return Counting()


@pytest.fixture
def detect(blazeface: Counting) -> Counting:
    blazeface.looks = 0
    return blazeface


@pytest.fixture
def finder(detect: Counting) -> FaceFinder:
    return FaceFinder(detect)


@pytest.fixture(scope="module")
def portraits(samples: Path) -> list[np.ndarray]:
    """The heads of the two real portraits, a little more than twice as wide as the face, (240, 240, 3)."""
    cut = []
    for name, (x, y, side) in FACES["real"].items():
        half = round(1.1 * side)
        image = read_image(samples / name)[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
        cut.append(cv2.resize(image, (240, 240), interpolation=cv2.INTER_AREA))
    return cut


def angle(degrees: float) -> float:
    """Return the same turn between -180 and 180."""
    return (degrees + 180) % 360 - 180


def assert_one_each(found: list[Face], wanted: list[tuple[float, float, float]]) -> None:
    """Every wanted centre x, y and size has one face of about this place and size, and there are no others."""
    assert len(found) == len(wanted)
    for x, y, size in wanted:
        (_,) = [
            face
            for face in found
            if math.dist(face.centre_xy, (x, y)) < size / 4 and face.size_px == pytest.approx(size, rel=0.4)
        ]


# Upright


@pytest.mark.parametrize(
    ("name", "count"),
    [("real_astronaut", 1), ("real_grace_hopper", 1), ("two_faces", 2), ("real_turned_by_exif", 1)],
)
def test_upright_portraits(name: str, count: int, finder: FaceFinder, samples: Path) -> None:
    found = finder.find(read_image(samples / f"{name}.jpg"), smallest_px=JUDGED_PX)
    assert len(found) == count
    assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
    for face in found:
        assert is_sure(face)
        assert face.is_frontal
        assert abs(face.roll_degrees) < 10


# Tilted and turned


@pytest.mark.parametrize("degrees", [10, -10, 25, -25, 45, -45, 90, -90, 180])
@pytest.mark.parametrize("name", ["real_astronaut", "real_grace_hopper", "two_faces"])
def test_a_turned_picture_gives_the_faces_of_the_upright_one(
    name: str, degrees: float, finder: FaceFinder, samples: Path
) -> None:
    upright = read_image(samples / f"{name}.jpg")
    image, matrix = turned(upright, degrees)
    wanted = finder.find(upright)
    found = [face for face in finder.find(image, smallest_px=JUDGED_PX) if is_sure(face)]
    assert_one_each(found, [(*matrix @ [*face.centre_xy, 1], face.size_px) for face in wanted])
    for face in found:
        (of,) = [of for of in wanted if math.dist(matrix @ [*of.centre_xy, 1], face.centre_xy) < of.size_px / 4]
        assert face.is_frontal
        assert abs(angle(face.roll_degrees - of.roll_degrees - degrees)) < 9


@pytest.mark.parametrize("degrees", [25, -25, 45, -45, 90, -90, 180])
@pytest.mark.parametrize("name", FACES["real"])
def test_the_crop_of_a_turned_face_is_the_upright_one(
    name: str, degrees: float, finder: FaceFinder, samples: Path
) -> None:
    def crop(image: np.ndarray, face: Face, roll_degrees: float) -> np.ndarray:
        sharp = crop_face(image, face.box_xyxy, size_px=64, margin_ratio=1.5, roll_degrees=roll_degrees)
        return cv2.GaussianBlur(sharp, (0, 0), 2).astype(int)

    upright = read_image(samples / name)
    (wanted,) = finder.find(upright)
    image, _ = turned(upright, degrees)
    (found,) = filter(is_sure, finder.find(image))
    as_it_was = crop(upright, wanted, wanted.roll_degrees)
    as_found, not_turned = (crop(image, found, degrees) for degrees in (found.roll_degrees, 0))
    assert np.abs(as_found - as_it_was).mean() < 0.7 * np.abs(not_turned - as_it_was).mean()


def test_a_turned_group_of_small_faces(finder: FaceFinder, portraits: list[np.ndarray]) -> None:
    """One face is large enough to tell how the picture is turned; the small ones are then found, too."""
    image = np.full((1000, 1000, 3), 90, np.uint8)
    wanted = [place(image, portraits[0], 60, 60, 240)]
    wanted += [place(image, portraits[i % 2], 420 + 190 * (i % 3), 500 + 160 * (i // 3), 120) for i in range(6)]
    lying, matrix = turned(image, 90)
    found = finder.find(lying, smallest_px=JUDGED_PX)
    assert_one_each(found, [(*matrix @ [x, y, 1], size) for x, y, size in wanted])
    assert all(is_sure(face) and abs(face.roll_degrees - 90) < 12 for face in found)


@pytest.mark.parametrize(
    ("faces", "degrees"), [("....", 0), ("xxxx", 180), ("x...", 0), ("xxx.", 180), (".", 0), ("x", 180)]
)
def test_small_faces_are_not_taken_for_upright_where_most_are_upside_down(faces: str, degrees: int) -> None:
    """As BlazeFace takes some for upright, but is surer of them the right way up."""

    def detect(patch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        *_, boxes, _ = cv2.connectedComponentsWithStats((patch[..., 0] > 50).astype(np.uint8))
        seen = []
        for x, y, width, height, _ in boxes[1:].tolist():
            upper, lower = (float(patch[y + height * part // 4, x + width // 2, 0]) for part in (1, 3))
            eyes_nose_mouth_ears = [[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.5, 0.7], [0, 0.4], [1, 0.4]]
            points = np.array([[0, 0], [1, 1], *eyes_nose_mouth_ears]) * [width, height] + [x, y]
            if abs(upper - lower) > 40:  # does not lie on its side
                seen.append((points, 0.95 if upper > lower else 0.9))
        return seen

    image = np.zeros((480, 640, 3), np.uint8)
    for (x, y), way in zip([(80, 90), (300, 150), (500, 360), (100, 300)], faces, strict=False):
        shades = (100, 250) if way == "x" else (250, 100)
        image[y : y + 30, x : x + 60], image[y + 30 : y + 60, x : x + 60] = shades
    found = FaceFinder(detect).find(image, smallest_px=JUDGED_PX)
    assert len(found) == len(faces)
    assert {abs(round(angle(face.roll_degrees))) for face in found} == {degrees}


# Small and many


def place(image: np.ndarray, portrait: np.ndarray, x: int, y: int, side: int) -> tuple[float, float, float]:
    """Draw a portrait into a picture; return the centre of its face, and how large that is."""
    image[y : y + side, x : x + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    return x + side / 2, y + side / 2, side / 2.2


@pytest.mark.parametrize("face_px", [72, 90, 110])
@pytest.mark.parametrize(("width", "height"), [(1024, 768), (768, 1024), (1600, 1200), (2000, 1500), (2400, 500)])
def test_a_small_face_on_a_large_picture(
    width: int, height: int, face_px: int, finder: FaceFinder, portraits: list[np.ndarray]
) -> None:
    grey = np.full((height, width, 3), 120, np.uint8)
    side = round(face_px * 2.2)
    for x, y in ((40, 30), (width - side - 30, height - side - 40), ((width - side) // 2, (height - side) // 2)):
        image = grey.copy()
        wanted = place(image, portraits[0], x, y, side)
        assert_one_each(list(filter(is_sure, finder.find(image, smallest_px=JUDGED_PX))), [wanted])


def test_faces_that_are_too_small_to_matter_are_not_looked_for(
    finder: FaceFinder, detect: Counting, portraits: list[np.ndarray]
) -> None:
    image = np.full((1200, 1600, 3), 120, np.uint8)
    wanted = place(image, portraits[0], 300, 700, 150)
    assert finder.find(image) == []
    few = detect.looks
    assert finder.find(image, smallest_px=120) == []
    assert detect.looks == 2 * few  # nothing was done in addition
    assert_one_each(finder.find(image, smallest_px=JUDGED_PX), [wanted])
    assert detect.looks > 3 * few


GROUP = {
    (218, 226, 159): 0,
    (541, 210, 110): 0,
    (813, 199, 111): -25,
    (1055, 184, 98): 12,
    (132, 590, 90): 90,
    (372, 595, 98): 28,
    (592, 467, 67): -5,
    (763, 610, 103): 10,
    (1018, 426, 59): -5,
    (1122, 600, 69): -40,
    (599, 659, 56): 4,
    (983, 716, 44): 5,
    (488, 737, 36): 5,
}
"""Where the faces of samples/group.jpg are, how large and how turned."""


def test_the_sample_of_a_group_has_every_face_once(finder: FaceFinder, samples: Path) -> None:
    found = finder.find(read_image(samples / "group.jpg"), smallest_px=JUDGED_PX)
    assert_one_each(found, list(GROUP))
    assert all(map(is_sure, found))
    for (x, y, size), degrees in GROUP.items():
        (face,) = [face for face in found if math.dist(face.centre_xy, (x, y)) < size / 4]
        assert abs(angle(face.roll_degrees - degrees)) < 10
        assert face.is_frontal == ((x, y) != (763, 610))  # the photographer looks aside


@pytest.mark.parametrize("shift", [0, 7, 31])
@pytest.mark.parametrize(("columns", "rows", "side"), [(6, 4, 160), (8, 10, 120), (3, 9, 150), (15, 12, 130)])
def test_a_wall_of_portraits_has_every_face_once(
    columns: int, rows: int, side: int, shift: int, finder: FaceFinder, portraits: list[np.ndarray]
) -> None:
    """Wherever the seams of the parts lie."""
    image = np.full((rows * side + 60, columns * side + 60, 3), 120, np.uint8)
    wanted = [
        place(image, portraits[(row + column) % 2], column * side + shift, row * side + shift, side)
        for row in range(rows)
        for column in range(columns)
    ]
    assert_one_each(finder.find(image, smallest_px=JUDGED_PX), wanted)


# What is no face


def smiley(side: int = 400) -> np.ndarray:
    image = np.full((side, side, 3), (120, 160, 200), np.uint8)
    cv2.circle(image, (side // 2,) * 2, side * 2 // 5, (255, 210, 60), -1, cv2.LINE_AA)
    for x in (0.36, 0.64):
        cv2.ellipse(image, (int(x * side), int(0.4 * side)), (side // 22, side // 13), 0, 0, 360, (40, 30, 20), -1)
    cv2.ellipse(image, (side // 2, int(0.55 * side)), (side // 5, side // 6), 0, 10, 170, (40, 30, 20), side // 50)
    return image


def snowman(side: int = 400) -> np.ndarray:
    image = np.full((side, side, 3), (90, 130, 190), np.uint8)
    for y, radius in ((0.75, 0.22), (0.35, 0.2)):
        cv2.circle(image, (side // 2, int(y * side)), int(radius * side), (245, 245, 250), -1, cv2.LINE_AA)
    for x in (0.43, 0.57):
        cv2.circle(image, (int(x * side), int(0.3 * side)), side // 40, (20, 20, 20), -1, cv2.LINE_AA)
    nose = np.array([(0.48, 0.37), (0.52, 0.37), (0.62, 0.41)]) * side
    cv2.fillPoly(image, [nose.astype(np.int32)], (240, 130, 40))
    cv2.ellipse(image, (side // 2, int(0.4 * side)), (side // 12, side // 16), 0, 20, 160, (20, 20, 20), side // 80)
    return image


def rag_doll(side: int = 400) -> np.ndarray:
    image = np.full((side, side, 3), (90, 130, 110), np.uint8)
    cv2.circle(image, (side // 2,) * 2, int(0.38 * side), (225, 190, 160), -1, cv2.LINE_AA)
    for x in (0.38, 0.62):
        cv2.circle(image, (int(x * side), int(0.42 * side)), side // 14, (40, 60, 160), -1, cv2.LINE_AA)
        cv2.circle(image, (int(x * side), int(0.42 * side)), side // 40, (225, 190, 160), -1, cv2.LINE_AA)
    for x in np.arange(0.36, 0.65, 0.04):
        cv2.line(image, (int(x * side), int(0.64 * side)), (int(x * side), int(0.7 * side)), (120, 30, 40), side // 80)
    cv2.line(image, (int(0.34 * side), int(0.67 * side)), (int(0.66 * side), int(0.67 * side)), (120, 30, 40), 4)
    return image


def no_faces() -> Iterator[tuple[str, np.ndarray]]:
    yield from (("smiley", smiley()), ("snowman", snowman()), ("rag doll", rag_doll()))
    yield "coffee.jpg", read_image(Path(__file__).parents[2] / "samples" / "no_face_coffee.jpg")
    data = pytest.importorskip("skimage.data")
    for name in ("chelsea", "coffee", "coins", "brick", "grass", "gravel", "moon", "rocket", "hubble_deep_field"):
        image = getattr(data, name)()
        yield name, image if image.ndim == 3 else np.dstack([image] * 3)


def test_what_is_no_face_is_never_sure(finder: FaceFinder) -> None:
    seen = {
        (name, turns): [face.score for face in finder.find(np.rot90(image, turns).copy(), smallest_px=JUDGED_PX)]
        for name, image in no_faces()
        for turns in range(4)
    }
    assert len(seen) >= 16
    assert {key: scores for key, scores in seen.items() if max(scores, default=0) >= 0.78} == {}


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (3, 5000), (5000, 3), (2, 32_766), (32_766, 2)],
    ids=lambda shape: f"{shape[1]}x{shape[0]}",
)
def test_no_face_in_pictures_of_hardly_any_pixels(shape: tuple[int, int], finder: FaceFinder) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert finder.find(image, smallest_px=JUDGED_PX) == []


def test_a_face_in_a_panorama(finder: FaceFinder, portraits: list[np.ndarray]) -> None:
    image = np.full((240, 6000, 3), 120, np.uint8)
    wanted = [place(image, portraits[0], x, 10, 220) for x in (100, 2890, 5700)]
    assert_one_each(finder.find(image, smallest_px=JUDGED_PX), wanted)


# How often it looks


@pytest.mark.parametrize(
    ("width", "height", "most"), [(640, 480, 1), (480, 640, 1), (1152, 864, 5), (1000, 1000, 8), (1280, 720, 4)]
)
def test_a_portrait_is_found_at_little_cost(
    width: int, height: int, most: int, finder: FaceFinder, detect: Counting, portraits: list[np.ndarray]
) -> None:
    image = np.full((height, width, 3), 120, np.uint8)
    side = round(0.5 * min(width, height))
    wanted = place(image, portraits[0], (width - side) // 2, (height - side) // 2, side)
    assert_one_each(finder.find(image, smallest_px=JUDGED_PX), [wanted])
    assert detect.looks <= most


def test_a_clear_face_is_no_reason_to_look_around_it(
    finder: FaceFinder, detect: Counting, portraits: list[np.ndarray]
) -> None:
    image = np.full((480, 640, 3), 120, np.uint8)
    wanted = place(image, portraits[0], 117, 64, 288)  # small, and in one of the parts as a whole
    assert_one_each(finder.find(image, smallest_px=JUDGED_PX), [wanted])
    assert detect.looks == 1


@pytest.mark.parametrize("smallest_px", [None, 1.0, JUDGED_PX])
def test_hints_everywhere_do_not_make_it_look_for_ever(smallest_px: float | None) -> None:
    """As hostile noise could: every look shows a hundred small things that are hardly faces."""
    rng = np.random.default_rng(0)
    looks = []

    def detect(patch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        looks.append(patch)
        corners = rng.uniform(0, SIDE_PX - 8, (100, 1, 2)) + np.array([[0, 0], [6, 6]])
        points = corners.mean(axis=1, keepdims=True).repeat(6, axis=1)
        return [(face, 0.4) for face in np.concatenate([corners, points], axis=1)]

    found = FaceFinder(detect).find(np.zeros((3000, 4000, 3), np.uint8), smallest_px=smallest_px)
    assert found == []
    assert len(looks) <= 4 * 256
