"""The live picture as a page: what it shows, and that no page of others sees it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

import numpy as np
import pytest

from facetell.edge.browser import BrowserView
from facetell.edge.errors import SourceError
from facetell.edge.images import read_image
from facetell.edge.live import Look


@pytest.fixture
def view(portrait: np.ndarray) -> Iterator[BrowserView]:
    view = BrowserView(port=0)
    view.show(Look(portrait, [], [], 12.5, 30))
    yield view
    view.close()


def address(view: BrowserView) -> str:
    return view.greeting.split()[2]


@contextmanager
def answer(url: str, **headers: str) -> Iterator[HTTPResponse | urllib.error.HTTPError]:
    """Give an answer, of whatever status, whose body may never end."""
    try:
        given = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)
    except urllib.error.HTTPError as error:
        given = error
    with given:
        yield given


def status(url: str, **headers: str) -> int | None:
    with answer(url, **headers) as given:
        return given.status


def test_the_page_and_its_state(view: BrowserView) -> None:
    with answer(address(view)) as page:
        assert page.status == 200
        assert b"evidence, not proof" in page.read()
    with answer(address(view) + "state") as state:
        assert json.loads(state.read()) == {
            **{"gives_pictures": True, "faces": [], "frames_per_s": 12.5, "latency_ms": 30},
        }
    assert status(address(view) + "../etc/passwd") == 404


def test_the_stream_is_pictures(view: BrowserView, portrait: np.ndarray) -> None:
    with answer(address(view) + "stream") as stream:
        assert stream.readline() == b"--frame\r\n"
        assert stream.readline() == b"Content-Type: image/jpeg\r\n"
        stream.readline()
        content = b""
        while b"\xff\xd9\r\n" not in content:
            content += stream.read1(20_000)
    assert read_image(content[: content.rfind(b"\xff\xd9") + 2]).shape == portrait.shape


@pytest.mark.parametrize(
    ("host", "code"), [("evil.example:80", 403), ("", 403), ("localhost:1", 200), ("localhost", 200), ("[::1]:80", 200)]
)
def test_pages_of_others_cannot_read_the_camera(host: str, code: int, view: BrowserView) -> None:
    assert status(address(view) + "state", Host=host) == code


@pytest.mark.parametrize(
    ("site", "code"), [("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)]
)
@pytest.mark.parametrize("path", ["", "state", "stream"])
def test_pages_of_others_cannot_show_the_camera(path: str, site: str, code: int, view: BrowserView) -> None:
    """A browser says from where a page asks; another port of this machine is the same site."""
    assert status(address(view) + path, **{"Sec-Fetch-Site": site}) == code


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [("", {}, 200), ("state", {}, 200), ("stream", {}, 200), ("x", {}, 404), ("", {"Host": "evil.example"}, 403)],
)
def test_every_answer_says_that_no_other_page_may_show_it(
    path: str, headers: dict[str, str], code: int, view: BrowserView
) -> None:
    with answer(address(view) + path, **headers) as given:
        assert given.status == code
        assert given.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert given.headers["X-Content-Type-Options"] == "nosniff"
        assert given.headers["X-Frame-Options"] == "DENY"


def test_an_empty_host_is_not_everywhere() -> None:
    with pytest.raises(SourceError, match=r"--host is empty; give 127\.0\.0\.1"):
        BrowserView(host="", port=0)


def test_a_port_that_is_taken_is_one_sentence(view: BrowserView) -> None:
    port = int(address(view).rstrip("/").rpartition(":")[2])
    with pytest.raises(SourceError, match=rf"cannot listen on 127\.0\.0\.1 port {port}.*--port"):
        BrowserView(port=port)
