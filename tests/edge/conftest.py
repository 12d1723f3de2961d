"""What tests of the edge share: a detector, a bundle to be spoilt, faces in pictures and video, and `facetell scan`."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, MANIFEST, Bundle
from facetell.edge.detector import Detector

from ..pictures import VIDEO_SIZE, write_video
from ..program import Scan


@pytest.fixture(scope="session")
def detector(bundle: Bundle) -> Detector:
    return Detector(bundle)


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """A copy of the shipped bundle, to be spoilt."""
    return shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")


@pytest.fixture
def manifest(bundle_copy: Path) -> dict[str, Any]:
    """What the manifest of bundle_copy says, to be changed and written back."""
    return json.loads((bundle_copy / MANIFEST).read_text())


@pytest.fixture(scope="session")
def astronaut_file(samples: Path) -> Path:
    return samples / "real_astronaut.jpg"


@pytest.fixture
def photos(tmp_path: Path, astronaut_file: Path) -> Path:
    """The folder pictures, which holds one picture with a face."""
    (tmp_path / "pictures").mkdir()
    shutil.copy(astronaut_file, tmp_path / "pictures" / "astronaut.jpg")
    return tmp_path / "pictures"


@pytest.fixture(scope="session")
def portrait(astronaut: np.ndarray) -> np.ndarray:
    """A real face in the middle of (240, 320, 3)."""
    return cv2.resize(astronaut[0:300, 50:450], VIDEO_SIZE)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray) -> Path:
    """Two seconds of a face."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.avi", [portrait] * 40, "MJPG", fps=20)


@pytest.fixture
def scan(capsys: pytest.CaptureFixture[str]) -> Scan:
    return Scan(capsys)
