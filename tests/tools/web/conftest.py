"""What the tests of the web app share: a scorer, and clients of a server that runs in the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("gradio")

from fastapi.testclient import TestClient

from facetell.edge.bundle import Bundle
from facetell.tools.web.scorer import Scorer
from facetell.tools.web.server import Limits, application


@pytest.fixture(scope="module")
def scorer(bundle: Bundle) -> Scorer:
    return Scorer(bundle, workers=1, max_megapixels=50)


@pytest.fixture(scope="module")
def client_of(bundle: Bundle) -> Callable[..., TestClient]:
    def make(limits: Limits | None = None, **options: Any) -> TestClient:
        app = application(bundle, workers=1, limits=limits or Limits(), **options)
        return TestClient(app, base_url="http://127.0.0.1:7860")

    return make


@pytest.fixture(scope="module")
def client(client_of: Callable[..., TestClient]) -> Iterator[TestClient]:
    with client_of() as client:  # Gradio's queue starts and ends with it
        yield client
