"""What all clients are given."""

from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.faces import FaceFinder, crop_face
from facetell.edge.images import read_image


@pytest.fixture(scope="session")
def faces(bundle: Bundle, samples: Path) -> np.ndarray:
    """The faces in the sample pictures as (N, 224, 224, 3) uint8 RGB."""
    finder = FaceFinder(bundle.face_detector, min_score=bundle.min_face_score)
    images = [read_image(path) for path in sorted(samples.glob("*.jpg"))]
    crops = [
        crop_face(image, face.box_xyxy, size_px=bundle.input_size_px, margin_ratio=bundle.margin_ratio)
        for image in images
        for face in finder.find(image)
    ]
    return np.stack(crops)
