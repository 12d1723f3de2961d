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

from ..edge.bundle import FACE_DETECTOR, Bundle, load_bundle
from ..edge.detector import Detector
from ..edge.faces import Face, FaceFinder, crop_face, face_square
from ..edge.files import write_text
from ..edge.images import read_image
from ..edge.runtime import installed_runtimes
from ..edge.scan import expand_paths

FORMAT = 1
TOLERANCES = {"box_px": 0.5, "crop_levels": 4, "p_fake_float": 1e-4, "p_fake_int8": 0.02, "p_fake_from_file": 0.05}
"""Each step's, when it is given what the step before gives here; the last is for all steps together, float."""

PROBES_XY = ((40, 80), (184, 80), (112, 140), (223, 223))
"""The pixels of a crop that are written out."""

PATTERN = "rgb(x, y) = (x, y, 255 - |x - y|), x and y from 0 to 223"


def golden(samples: Path, bundle_path: Path) -> dict[str, Any]:
    """Return what facetell computes for every picture in a folder, with one bundle on the best runtime installed.

    Crops are cut by the boxes as they are written, rounded, so that each step can be repeated from the one before.
    """
    bundle = load_bundle(bundle_path)
    runtime = installed_runtimes()[0]
    detectors = {name: Detector(bundle, precision=name, runtime=runtime) for name in bundle.classifiers}
    finder = FaceFinder(bundle.face_detector, min_score=bundle.min_face_score, runtime=runtime)
    return {
        "format": FORMAT,
        "model": bundle.identity,
        "sha256": {FACE_DETECTOR: _sha256(bundle.face_detector)}
        | {classifier.file: classifier.sha256 for classifier in bundle.classifiers.values()},
        "thresholds": {"real": bundle.thresholds.real, "fake": bundle.thresholds.fake},
        "runtime": f"{runtime} {version(runtime)}",
        "tolerances": TOLERANCES,
        "probes_xy": PROBES_XY,
        "pattern": {"formula": PATTERN} | _seen_in_crop(pattern(bundle.input_size_px), bundle, detectors),
        "pictures": [_seen_in_file(path, samples, bundle, finder, detectors) for path in expand_paths([samples])],
    }


def pattern(size_px: int) -> np.ndarray:
    """Return the (S, S, 3) uint8 RGB crop that PATTERN describes, which no decoder and no resizing can change."""
    y, x = np.mgrid[:size_px, :size_px]
    return np.stack([x, y, 255 - np.abs(x - y)], axis=2).astype(np.uint8)


def _seen_in_file(
    path: Path, samples: Path, bundle: Bundle, finder: FaceFinder, detectors: Mapping[str, Detector]
) -> dict[str, Any]:
    image = read_image(path)
    height, width = image.shape[:2]
    return {
        "file": path.relative_to(samples).as_posix(),
        "sha256": _sha256(path.read_bytes()),
        "width": width,
        "height": height,
        "faces": [_seen_in_face(image, face, bundle, detectors) for face in finder.find(image)],
    }


def _seen_in_face(image: np.ndarray, face: Face, bundle: Bundle, detectors: Mapping[str, Detector]) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = (round(edge, 4) for edge in face.box_xyxy)
    box_xyxy = (x_min, y_min, x_max, y_max)
    x, y, side = face_square(image, box_xyxy, margin_ratio=bundle.margin_ratio)
    square = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    crop = crop_face(image, box_xyxy, size_px=bundle.input_size_px, margin_ratio=bundle.margin_ratio)
    return {
        "box_xyxy": box_xyxy,
        "score": round(face.score, 4),
        "square_xyxy": [round(edge, 4) for edge in square],
    } | _seen_in_crop(crop, bundle, detectors)


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
    """Return indented JSON with each list of numbers in one line."""
    text = json.dumps(values, indent=2)
    return re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda numbers: f"[{' '.join(numbers[1].split())}]", text) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[3]), _json(golden(Path(sys.argv[1]), Path(sys.argv[2]))))
