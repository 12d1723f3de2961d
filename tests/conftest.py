"""What all tests share: the sample pictures and the shipped bundle."""

from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, Bundle, load_bundle
from facetell.edge.images import read_image

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture(scope="session")
def astronaut(samples: Path) -> np.ndarray:
    return read_image(samples / "real_astronaut.jpg")


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle(DEFAULT_BUNDLE)
