"""The files of a bundle in MediaPipe Tasks, the oldest and the newest that phones have: the scores are Python's.

The newest stands in an environment of its own, which the first run makes in pytest's cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, Bundle
from facetell.edge.runtime import TFLiteModel

NEWEST = "1.2.2"
SCRIPT = Path(__file__).parent / "score_with_mediapipe.py"
LIMITS = {"float32": 1e-4, "float16": 1e-4, "int8": 0.02}


def python_with_newest(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache
    folder = pytestconfig.cache.mkdir(f"mediapipe-{NEWEST}")
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, f"mediapipe=={NEWEST}"], check=True)
        ready.touch()
    return python


@pytest.fixture(scope="module", params=["installed", NEWEST])
def python(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Path:
    if request.param == NEWEST:
        return python_with_newest(pytestconfig)
    if find_spec("mediapipe") is None:
        pytest.skip("mediapipe is not installed")
    return Path(sys.executable)


@pytest.mark.parametrize("precision", LIMITS)
def test_mediapipe_gives_the_scores_that_python_gives(
    tmp_path: Path, python: Path, bundle: Bundle, faces: np.ndarray, precision: str
) -> None:
    pictures = np.concatenate([faces, faces[:, ::-1], 255 - faces])  # with scores all over the scale
    np.save(tmp_path / "pictures.npy", pictures)
    file = DEFAULT_BUNDLE / bundle.classifier(precision).file
    done = subprocess.run([python, SCRIPT, file, tmp_path / "pictures.npy"], capture_output=True, text=True, check=True)
    model = TFLiteModel(file.read_bytes())
    expected = np.array([model.run(picture[np.newaxis])[0][0] for picture in pictures])
    drift = np.abs(np.array(json.loads(done.stdout)) - expected)
    assert np.ptp(expected) > 0.2
    assert (drift.mean() if precision == "int8" else drift.max()) <= LIMITS[precision]
