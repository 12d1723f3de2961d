"""A bundle's files in MediaPipe Tasks, oldest and newest: scores and faces are those of facetell in Python.

The newest stands in an environment of its own, which the first run makes in pytest's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.blazeface import BlazeFace, letterbox
from facetell.edge.bundle import DEFAULT_BUNDLE, PRECISIONS, Bundle
from facetell.edge.faces import Square
from facetell.edge.finder import HINT_SCORE
from facetell.edge.images import read_image
from facetell.edge.runtime import TFLiteModel

NEWEST = "1.2.2"
ROOT = Path(__file__).parents[2]
SCORE, FIND = (Path(__file__).parent / f"{verb}_with_mediapipe.py" for verb in ("score", "find"))


def python_with_newest(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache
    folder = pytestconfig.cache.mkdir(f"mediapipe-{NEWEST}")
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, f"mediapipe=={NEWEST}", "ai-edge-litert>=2.1", "pillow"], check=True)
        ready.touch()
    return python


@pytest.fixture(scope="module", params=["installed", NEWEST])
def python(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Path:
    if request.param == NEWEST:
        return python_with_newest(pytestconfig)
    if find_spec("mediapipe") is None:
        pytest.skip("mediapipe is not installed")
    return Path(sys.executable)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_mediapipe_gives_the_scores_that_python_gives(
    tmp_path: Path, python: Path, bundle: Bundle, faces: np.ndarray, precision: str
) -> None:
    pictures = np.concatenate([faces, faces[:, ::-1], 255 - faces])  # with scores all over the scale
    np.save(tmp_path / "pictures.npy", pictures)
    file = DEFAULT_BUNDLE / bundle.classifier(precision).file
    done = subprocess.run([python, SCORE, file, tmp_path / "pictures.npy"], capture_output=True, text=True, check=True)
    model = TFLiteModel(file.read_bytes())
    expected = np.array([model.run(picture[np.newaxis])[0][0] for picture in pictures])
    assert np.ptp(expected) > 0.2
    assert np.array(json.loads(done.stdout)) == pytest.approx(expected, abs=1e-4)


def test_mediapipe_finds_the_faces_that_the_edge_finds(
    tmp_path: Path, python: Path, bundle: Bundle, samples: Path
) -> None:
    """Boxes within a quarter of a pixel of a patch's 128, points within a hundredth."""
    for folder in ("edge", "pipeline", "models"):  # facetell, where it is not installed
        (tmp_path / "facetell").mkdir(exist_ok=True)
        (tmp_path / "facetell" / folder).symlink_to(ROOT / folder)
    patches = []
    for path in sorted(samples.rglob("*.[jp][pn]g")):
        image = read_image(path)
        height, width = image.shape[:2]
        for share, degrees in ((1.0, 0), (1.2, 25), (0.7, 0), (0.6, -25)):
            patches.append(letterbox(image, Square(width / 2, height / 2, share * max(height, width), degrees)))
    np.save(tmp_path / "patches.npy", np.stack(patches))
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [python, FIND, tmp_path / "patches.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    blazeface, faces = BlazeFace(bundle.face_detector, min_score=HINT_SCORE), 0
    for patch, theirs in zip(patches, json.loads(done.stdout), strict=True):
        ours = blazeface(patch)
        assert len(ours) == len(theirs)
        for (points, score), (other, other_score) in zip(ours, theirs, strict=True):
            assert points[:2] == pytest.approx(np.array(other)[:2], abs=0.25)
            assert points[2:] == pytest.approx(np.array(other)[2:], abs=0.01)
            assert score == pytest.approx(other_score, abs=1e-4)
        faces += len(ours)
    assert faces >= 20
