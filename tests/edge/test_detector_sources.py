"""What a detector takes: paths, bytes, PIL images and arrays; and what it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from facetell.edge.bundle import DEFAULT_BUNDLE, Bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.edge.results import FileResult

SOURCES: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "path": lambda path: path,
    "bytes": Path.read_bytes,
    "PIL image": Image.open,
    "RGB array": read_image,
    "read-only array": lambda path: np.asarray(Image.open(path)),
    "every second column": lambda path: np.repeat(read_image(path), 2, axis=1)[:, ::2],
}


def faces_of(result: FileResult) -> list[tuple[object, ...]]:
    return [(face.box_xyxy, face.p_fake, face.verdict, face.doubt) for face in result.faces]


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", ["two_faces.jpg", "no_face_coffee.jpg"])
def test_a_picture_is_judged_alike_however_it_is_given(kind: str, name: str, detector: Detector, samples: Path) -> None:
    path = samples / name
    result, expected = detector.scan(SOURCES[kind](path)), detector.scan_file(path)
    assert faces_of(result) == faces_of(expected)
    assert (result.status, result.width, result.height) == ("ok", expected.width, expected.height)
    assert result.path == (str(path) if kind in ("str", "path") else "")
    assert {name: getattr(result, name) for name in detector.signed} == detector.signed


def test_an_opencv_frame_is_bgr(detector: Detector, samples: Path) -> None:
    frame = cv2.imread(str(samples / "two_faces.jpg"))
    assert faces_of(detector.scan(frame, bgr=True)) == faces_of(detector.scan(frame[..., ::-1]))
    assert faces_of(detector.scan(frame, bgr=True)) != faces_of(detector.scan(frame))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_pil_image_is_turned_as_its_file_is(suffix: str, detector: Detector, samples: Path, tmp_path: Path) -> None:
    image, exif, path = Image.open(samples / "two_faces.jpg"), Image.Exif(), tmp_path / f"turned.{suffix}"
    exif[0x0112] = 6
    image.save(path, exif=exif)
    result, expected = detector.scan(Image.open(path)), detector.scan(path)
    assert faces_of(result) == faces_of(expected)
    assert (result.width, result.height) == (expected.width, expected.height) == image.size[::-1]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nowhere.jpg", "no such file"),
        (b"no picture", "not a picture"),
        (Image.new("F", (9, 9)), "floating-point"),
        (Image.new("1", (12_000, 12_000)), "more than the limit of 100 megapixels"),
    ],
)
def test_what_cannot_be_read_is_a_result_with_the_reason(source: Any, reason: str, detector: Detector) -> None:
    result = detector.scan(source)
    assert (result.status, result.verdict, result.faces) == ("error", "error", ())
    assert result.error
    assert reason in result.error


PIXELS = np.zeros((20, 30, 3), np.uint8)
REFUSED = {
    "floats": (PIXELS / 255, ValueError, r"\(20, 30, 3\) and float64; wanted \(H, W, 3\) and uint8"),
    "16 bits": (PIXELS.astype(np.uint16), ValueError, "uint16"),
    "grey": (PIXELS[..., 0], ValueError, r"\(20, 30\)"),
    "four channels": (np.zeros((20, 30, 4), np.uint8), ValueError, r"\(20, 30, 4\)"),
    "a batch": (PIXELS[np.newaxis], ValueError, r"\(1, 20, 30, 3\)"),
    "nothing in it": (PIXELS[:0], ValueError, r"\(0, 30, 3\)"),
    "too long": (np.zeros((1, 40_000, 3), np.uint8), ValueError, "at most 32766 pixels a side"),
    "a list": (PIXELS.tolist(), TypeError, "list is not a picture"),
    "None": (None, TypeError, "NoneType is not a picture"),
    "a number": (7, TypeError, "int is not a picture"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(name: str, detector: Detector) -> None:
    source, error, said = REFUSED[name]
    with pytest.raises(error, match=said):
        detector.scan(source)
    if isinstance(source, np.ndarray):
        with pytest.raises(error, match=said):
            detector.scan(source, bgr=True)
        with pytest.raises(error, match=said):
            detector.detect(source)


@pytest.mark.parametrize("bundle_of", [lambda: (), lambda: (DEFAULT_BUNDLE,), lambda: (str(DEFAULT_BUNDLE),)])
def test_a_detector_is_made_of_the_shipped_bundle_or_of_its_path(
    bundle_of: Callable[[], tuple[Any, ...]], bundle: Bundle
) -> None:
    assert Detector(*bundle_of()).signed == Detector(bundle).signed


@pytest.mark.parametrize("threshold", [70, -0.1, 1.01, float("nan")])
def test_a_threshold_is_a_probability(threshold: float, bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="wanted a number from 0 to 1"):
        Detector(bundle, threshold=threshold)


def test_a_bundle_is_named_without_its_bytes(bundle: Bundle) -> None:
    assert "facetell-default" in repr(bundle)
    assert len(repr(bundle)) < 5000


def test_a_result_is_shown_in_words_and_as_a_dict(detector: Detector, samples: Path) -> None:
    result = replace(detector.scan(samples / "two_faces.jpg"), path="two_faces.jpg")
    first, *faces = str(result).splitlines()
    assert first == f"two_faces.jpg: {result.verdict}, 2 faces"
    assert len(faces) == 2
    assert f"p_fake {result.faces[0].p_fake:.2f}, x " in faces[0]
    assert json.loads(json.dumps(result.to_dict()))["faces"][0]["p_fake"] == result.faces[0].p_fake
    assert str(replace(detector.scan(samples / "no_face_coffee.jpg"), path="", faces=())) == "picture: no face"
    assert str(detector.failed("a.jpg", "no such file")) == "a.jpg: error, no such file"
