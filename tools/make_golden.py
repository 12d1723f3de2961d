"""Writes what facetell sees in the sample pictures, step by step, for other implementations to compare with.

Run it with: python -m facetell.tools.make_golden samples models/default docs/golden.json
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..edge.blazeface import BlazeFace, letterbox
from ..edge.bundle import FACE_DETECTOR, Bundle, load_bundle
from ..edge.detector import Detector
from ..edge.faces import Face, Square
from ..edge.files import write_text
from ..edge.finder import HINT_SCORE, FaceFinder
from ..edge.images import read_image
from ..edge.results import FaceResult, decided, suspicion
from ..edge.runtime import installed_runtimes
from ..edge.scan import expand_paths

FORMAT = 4
TOLERANCES = {
    "first_look_px": 0.5,
    "box_px": 2.0,
    "roll_degrees": 2.0,
    "enlarged": 0.001,
    "patch_levels": 2,
    "crop_levels": 4,
    "p_fake": 1e-4,
    "p_fake_from_file": 0.05,
}
"""Of each step, when it is given what the step before gives here; the last is of all steps together. A box may
be further off than a face in the first look: the whole numbers of a closer look may be rounded the other way."""

PROBES_XY = ((40, 80), (184, 80), (112, 140), (223, 223))
"""The pixels of a crop that are written out."""

PATCH_PROBES_XY = ((40, 40), (88, 40), (64, 64), (64, 96))
"""The pixels of the finder's first patch that are written out."""

PATTERN = "rgb(x, y) = (x, y, 255 - |x - y|), x and y from 0 to 223"


def golden(samples: Path, bundle_path: Path) -> dict[str, Any]:
    """Return what facetell computes for every picture in a folder, with one bundle on the best runtime installed.

    Crops are cut by box and roll as they are written, rounded, so that each step can be repeated from the one before.
    """
    bundle = load_bundle(bundle_path)
    runtime = installed_runtimes()[0]
    detectors = {name: Detector(bundle, precision=name, runtime=runtime) for name in bundle.classifiers}
    blaze_face = BlazeFace(bundle.face_detector, min_score=HINT_SCORE, runtime=runtime)
    return {
        "format": FORMAT,
        "model": bundle.identity,
        "sha256": {FACE_DETECTOR: _sha256(bundle.face_detector)}
        | {classifier.file: classifier.sha256 for classifier in bundle.classifiers.values()},
        "thresholds": {"real": bundle.thresholds.real, "fake": bundle.thresholds.fake},
        "runtime": f"{runtime} {version(runtime)}",
        "tolerances": TOLERANCES,
        "probes_xy": PROBES_XY,
        "patch_probes_xy": PATCH_PROBES_XY,
        "pattern": {"formula": PATTERN} | _seen_in_crop(pattern(bundle.input_size_px), bundle, detectors),
        "pictures": [_seen_in_file(path, samples, bundle, blaze_face, detectors) for path in expand_paths([samples])],
    }


def pattern(size_px: int) -> np.ndarray:
    """Return the (S, S, 3) uint8 RGB crop that PATTERN describes, which no decoder and no resizing can change."""
    y, x = np.mgrid[:size_px, :size_px]
    return np.stack([x, y, 255 - np.abs(x - y)], axis=2).astype(np.uint8)


def _seen_in_file(
    path: Path, samples: Path, bundle: Bundle, blaze_face: BlazeFace, detectors: Mapping[str, Detector]
) -> dict[str, Any]:
    image, detector = read_image(path), next(iter(detectors.values()))
    height, width = image.shape[:2]
    patches: list[np.ndarray] = []

    def detect(patch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        patches.append(patch)
        return blaze_face(patch)

    faces = [
        (face, detector.judge(image, [face])[0])
        for face in FaceFinder(detect).find(image, smallest_px=bundle.min_face_px)
    ]
    faces.sort(key=lambda face_result: suspicion(face_result[1]), reverse=True)
    file = decided(result for _, result in faces)
    return {
        "file": path.relative_to(samples).as_posix(),
        "sha256": _sha256(path.read_bytes()),
        "width": width,
        "height": height,
        "first_look": _seen_in_whole(image, blaze_face),
        "looks": len(patches),
        **{name: file[name] for name in ("deciding_face", "too_small", "doubtful")},
        "faces": [_seen_in_face(image, face, result, bundle, detectors) for face, result in faces],
    }


def _seen_in_whole(image: np.ndarray, blaze_face: BlazeFace) -> dict[str, Any]:
    """Return what the finder gives of the whole picture at once, in pixels of the patch."""
    height, width = image.shape[:2]
    patch = letterbox(image, Square(width / 2, height / 2, max(width, height)))
    found = [
        {"box_xyxy": np.round(points[:2], 4).ravel().tolist(), "points_xy": np.round(points[2:], 4).tolist()}
        | {"score": round(score, 4)}
        for points, score in blaze_face(patch)
    ]
    return {"probes_rgb": [patch[y, x].tolist() for x, y in PATCH_PROBES_XY], "found": found}


def _seen_in_face(
    image: np.ndarray, face: Face, result: FaceResult, bundle: Bundle, detectors: Mapping[str, Detector]
) -> dict[str, Any]:
    detector = next(iter(detectors.values()))
    square = detector.square(image, result.box_xyxy, result.roll_degrees)
    crop = detector.crop(image, result.box_xyxy, result.roll_degrees)
    seen = _seen_in_crop(crop, bundle, detectors)
    if result.doubt:
        seen["verdict"] = dict.fromkeys(detectors, "uncertain")
    if result.p_fake is None:
        seen["p_fake"] = dict.fromkeys(detectors)
    return {
        "box_xyxy": result.box_xyxy,
        "points_xy": np.round(face.points_xy, 2).tolist(),
        "score": result.score,
        "roll_degrees": result.roll_degrees,
        "doubt": result.doubt,
        "square": {
            "centre_xy": [round(square.centre_x, 4), round(square.centre_y, 4)],
            "side": round(square.side_px, 4),
        },
        "enlarged": round(max(1.0, detector.closeness(square, result.box_xyxy)), 6),
    } | seen


def _seen_in_crop(crop: np.ndarray, bundle: Bundle, detectors: Mapping[str, Detector]) -> dict[str, Any]:
    p_fake = {name: round(detector.score(crop), 6) for name, detector in detectors.items()}
    return {
        "crop_sha256": _sha256(crop.tobytes()),
        "probes_rgb": [crop[y, x].tolist() for x, y in PROBES_XY],
        "p_fake": p_fake,
        "verdict": {name: bundle.thresholds.verdict(p) for name, p in p_fake.items()},
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(values: dict[str, Any]) -> str:
    """Return indented JSON with each list of numbers, or of lists of numbers, in one line."""
    text = json.dumps(values, indent=2)
    for inside in (r"[-\d.,\s]+?", r"[-\d.,\s\[\]]+?\]"):
        text = re.sub(rf"\[\s+({inside})\s+\]", lambda numbers: f"[{' '.join(numbers[1].split())}]", text)
    return text + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[3]), _json(golden(Path(sys.argv[1]), Path(sys.argv[2]))))
