"""What is said of each face: turned upright before it is scored, doubted where it cannot be judged."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.conditions import variations
from facetell.edge.detector import Detector
from facetell.edge.faces import Face, Point
from facetell.edge.images import Picture
from facetell.edge.results import Doubt, FileResult

from ..pictures import encoded

BOX = (170.0, 70.0, 280.0, 180.0)
FRONTAL = ((205.0, 105.0), (245.0, 105.0), (226.0, 128.0), (226.0, 150.0), (180.0, 110.0), (272.0, 112.0))
PROFILE = ((205.0, 105.0), (215.0, 105.0), (230.0, 128.0), (220.0, 150.0), (212.0, 110.0), (272.0, 112.0))


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return a square picture turned clockwise about its centre."""
    side = image.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -degrees, 1)
    return cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)


def amid_nothing(image: np.ndarray, share: float, side_px: int) -> np.ndarray:
    """Return a grey square picture with another in its middle, of a share of its side."""
    small = cv2.resize(image, (round(share * side_px),) * 2, interpolation=cv2.INTER_AREA)
    start = (side_px - len(small)) // 2
    canvas = np.full((side_px, side_px, 3), 128, np.uint8)
    canvas[start : start + len(small), start : start + len(small)] = small
    return canvas


# Upright


@pytest.mark.parametrize("degrees", [-90, -40, -25, -10, 10, 25, 40, 90, 180])
def test_a_tilted_face_is_scored_as_if_upright(degrees: float, astronaut: np.ndarray, detector: Detector) -> None:
    scene = astronaut[:300, 75:375]
    (upright,), (tilted,) = detector.detect(scene), detector.detect(turned(scene, degrees))
    assert abs((tilted.roll_degrees - upright.roll_degrees - degrees + 180) % 360 - 180) < 8
    seen, again = (
        cv2.GaussianBlur(detector.crop(image, face.box_xyxy, face.roll_degrees), (0, 0), 4).astype(float)
        for image, face in ((scene, upright), (turned(scene, degrees), tilted))
    )
    assert np.abs(seen - again).mean() < 0.3 * np.abs(seen - seen[::-1]).mean()
    assert tilted.doubt is None


@pytest.mark.parametrize("degrees", [-25, 0, 90])
def test_careful_looks_at_the_turned_square(
    degrees: float, astronaut: np.ndarray, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = turned(astronaut[:300, 75:375], degrees)
    detector, views, score = Detector(bundle), [], Detector.score
    (plain,) = detector.detect(scene)
    monkeypatch.setattr(Detector, "score", lambda self, view: views.append(view) or score(self, view))
    (careful,) = Detector(bundle, careful=True).detect(scene)
    square = detector.square(scene, plain.box_xyxy, plain.roll_degrees)
    closeness = detector.closeness(square, plain.box_xyxy)
    assert closeness > 1.1
    seen = detector.crop(scene, plain.box_xyxy, plain.roll_degrees)
    wanted = np.array([seen, *variations(scene, seen, square, closeness)], int)
    assert np.abs(views - wanted).mean(axis=(1, 2, 3)) == pytest.approx(0, abs=1)  # boxes are rounded in results
    assert plain.p_fake is not None
    assert careful.p_fake == pytest.approx(plain.p_fake, abs=0.25)
    assert careful.p_fake != plain.p_fake
    assert replace(careful, p_fake=0, verdict="") == replace(plain, p_fake=0, verdict="")


# Doubt


@pytest.mark.parametrize(
    ("score", "points_xy", "scale", "doubt"),
    [
        (0.95, FRONTAL, 1.0, None),
        (0.95, (), 1.0, None),
        (0.95, PROFILE, 1.0, "not_frontal"),
        (0.6, FRONTAL, 1.0, "may_not_be_a_face"),
        (0.6, PROFILE, 0.4, "may_not_be_a_face"),  # the first that applies
        (0.95, FRONTAL, 0.4, "too_small"),
        (0.95, PROFILE, 0.4, "too_small"),
        (0.95, FRONTAL, 0.5, None),  # 55 px of the original
    ],
)
@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_doubt_makes_uncertain(
    score: float,
    points_xy: tuple[Point, ...],
    scale: float,
    doubt: Doubt | None,
    threshold: float,
    bundle: Bundle,
    astronaut: np.ndarray,
) -> None:
    detector = Detector(replace(bundle, min_face_px=50), threshold=threshold)
    (face,) = detector.judge(astronaut, [Face(BOX, score, points_xy)], scale)
    assert face.doubt == doubt
    assert face.verdict == ("uncertain" if doubt else "real" if threshold else "fake")
    assert (face.p_fake is None) == (doubt == "too_small")
    assert face.box_xyxy == pytest.approx([edge * scale for edge in BOX])


@pytest.mark.parametrize(("min_face_px", "decides"), [(90, True), (110, False)])
@pytest.mark.parametrize("enlarged", [1, 8], ids=["decoded whole", "decoded reduced"])
def test_too_small_is_by_the_pixels_of_the_file(
    enlarged: int, min_face_px: float, decides: bool, astronaut: np.ndarray, bundle: Bundle, tmp_path: Path
) -> None:
    """The astronaut's face is about 101 px large."""
    picture = cv2.resize(astronaut, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    (tmp_path / "a.jpg").write_bytes(encoded(picture, "JPEG", quality=95))
    decoded: list[np.ndarray] = []
    detector = Detector(replace(bundle, min_face_px=min_face_px * enlarged))
    result = detector.scan_file(tmp_path / "a.jpg", decoded.append)
    assert (decoded[0].shape[0] < picture.shape[0]) == (enlarged > 1)
    (face,) = result.faces
    assert max(face.box_xyxy[2] - face.box_xyxy[0], 0) == pytest.approx(101 * enlarged, rel=0.1)
    if decides:
        assert (result.deciding_face, result.too_small, result.p_fake) == (0, 0, face.p_fake)
    else:
        assert (result.verdict, result.p_fake, result.deciding_face, result.too_small) == ("no_face", None, None, 1)
        assert (face.doubt, face.p_fake, face.verdict) == ("too_small", None, "uncertain")


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (224, 224)])
def test_a_picture_that_is_a_crop_has_no_doubt(size: tuple[int, int], bundle: Bundle, astronaut: np.ndarray) -> None:
    (face,) = Detector(bundle, pre_cropped=True).detect(cv2.resize(astronaut, size))
    assert (face.doubt, face.roll_degrees) == (None, 0)
    assert face.p_fake is not None


# Small


@pytest.mark.parametrize(("small_faces", "found", "rule"), [(True, 1, ""), (False, 0, ", small faces off")])
def test_small_faces_are_searched_for_unless_told_not_to(
    small_faces: bool, found: int, rule: str, astronaut: np.ndarray, bundle: Bundle
) -> None:
    detector = Detector(bundle, small_faces=small_faces)
    scene = amid_nothing(astronaut[:300, 75:375], 0.065, 3000)  # the face is 65 px large, a 45th of the side
    for one in (detector, pickle.loads(pickle.dumps(detector))):
        assert len(one.detect(scene)) == found
        assert one.signed["rule"] == Detector(bundle).signed["rule"] + rule


def test_threads_that_share_a_detector_get_what_one_gets(detector: Detector, samples: Path) -> None:
    paths = sorted(samples.glob("*.jpg")) * 8
    expected = [without_latency(detector.scan_file(path)) for path in paths[: len(paths) // 8]] * 8
    with ThreadPoolExecutor(8) as pool:
        assert [without_latency(result) for result in pool.map(detector.scan_file, paths)] == expected


def without_latency(result: FileResult) -> FileResult:
    return replace(result, latency_ms=None)


@pytest.mark.parametrize(("min_face_px", "side_px"), [(48, 3000), (200, 750)])
def test_a_large_jpeg_is_decoded_sharper_only_for_a_face_that_can_be_judged(
    min_face_px: float, side_px: int, astronaut: np.ndarray, bundle: Bundle
) -> None:
    scene = amid_nothing(astronaut[:300, 75:375], 0.16, 3000)  # the face is 160 px large
    detector = Detector(replace(bundle, min_face_px=min_face_px))
    image, faces = detector.read(Picture(encoded(scene, "JPEG", quality=95)))
    assert image.shape[:2] == (side_px, side_px)
    if min_face_px < 160:
        assert [face.size_px for face in faces] == [pytest.approx(160, rel=0.15)]
