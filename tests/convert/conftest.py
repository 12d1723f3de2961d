"""The tiny run and its bundle, made once."""

from pathlib import Path

import pytest

from ..pictures import tiny_bundle, tiny_crops, tiny_run


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tests of the pipeline use as well."""
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
