"""The REST interface does what its schema says, whatever it is sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the extra web is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from facetell.edge.bundle import Bundle
from facetell.tools.web.server import Limits, application

from ...pictures import encoded

KINDS = ("jpeg", "png", "webp", "bmp", "tiff", "gif", "avif")
CONFIG = {
    "generation": {"max-examples": 100, "deterministic": True, "database": "none"},
    # A schema cannot say of bytes that they are a picture: what is none is refused, and that is right.
    "checks": {"positive_data_acceptance": {"expected-statuses": [200, 415]}},
}


@pytest.mark.parametrize("auth", [None, ("me", "secret")], ids=["open", "password"])
def test_what_the_schema_says(auth: tuple[str, str] | None, bundle: Bundle, samples: Path) -> None:
    faces = (samples / "two_faces.jpg").read_bytes()
    for kind in KINDS:
        pictures = [encoded(np.full((high, wide, 3), 90, np.uint8), kind.upper()) for high, wide in ((1, 1), (30, 200))]
        sent = st.sampled_from([*pictures, pictures[1][:40], faces]) | st.binary(max_size=100)
        schemathesis.openapi.media_type(f"image/{kind}", sent)
    app = application(bundle, workers=1, limits=Limits(requests_per_minute=100_000), auth=auth)
    said = {"auth": {"basic": dict(zip(("username", "password"), auth, strict=True))}} if auth else {}
    config = SchemathesisConfig.from_dict(CONFIG | said)
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app, config=config, auth=auth)

    statuses, failures = set(), []
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            answers = (exchange.response for exchange in event.recorder.interactions.values())
            statuses |= {answer.status_code for answer in answers if answer}
            checks = (check for checks in event.recorder.checks.values() for check in checks)
            failures += [check.failure_info.failure for check in checks if check.failure_info]
    assert failures == []
    assert statuses >= {200, 405, 415, 422, *([401] if auth else [])}
