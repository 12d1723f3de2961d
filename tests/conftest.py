"""What all tests share: the sample pictures, the shipped bundle, and a tiny run made once from raw folders on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, Bundle, load_bundle
from facetell.edge.images import read_image

from .pictures import tiny_bundle, tiny_crops, tiny_run, zipped

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


@pytest.fixture(params=[Path, zipped], ids=["folder", "zip"])
def pack(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Leave a folder as it is, or make a zip of it: what is read from one is read from the other."""
    return request.param


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the session: raw/, dataset/, crops/, run/ and bundle/ stand in it once they are made."""
    return tmp_path_factory.getbasetemp() / "tiny"


@pytest.fixture(scope="session")
def crops(work: Path) -> Path:
    """24 face crops, split."""
    return tiny_crops(work)


@pytest.fixture(scope="session")
def run(work: Path) -> Path:
    """A finished and evaluated training on crops."""
    return tiny_run(work)


@pytest.fixture(scope="session")
def exported(work: Path) -> Path:
    """The run's bundle."""
    return tiny_bundle(work)
