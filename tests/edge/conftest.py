"""What tests of the edge share: a detector of the shipped model, and a frame of video with a face."""

import cv2
import numpy as np
import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.detector import Detector

from ..pictures import VIDEO_SIZE


@pytest.fixture(scope="session")
def detector(bundle: Bundle) -> Detector:
    return Detector(bundle)


@pytest.fixture(scope="session")
def portrait(astronaut: np.ndarray) -> np.ndarray:
    """A real face in the middle of (240, 320, 3)."""
    return cv2.resize(astronaut[0:300, 50:450], VIDEO_SIZE)
