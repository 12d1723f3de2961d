"""The server: scores over REST, its limits, and what keeps strangers out."""

from __future__ import annotations

import base64
import configparser
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("gradio")

from fastapi.testclient import TestClient
from packaging.requirements import Requirement
from PIL import Image

from facetell.edge.bundle import Bundle
from facetell.edge.detector import Detector
from facetell.tools.phone.site import site_files
from facetell.tools.web.server import Limits

from ...conftest import ROOT
from ...pictures import encoded

TWO_FACES = "two_faces.jpg"


def score(client: TestClient, content: bytes, **options: Any) -> Any:
    return client.post("/v1/score", files={"file": ("a.jpg", content)}, **options)


# REST


def test_health(client: TestClient, bundle: Bundle) -> None:
    assert client.get("/v1/health").json() == {"status": "ok", "model": bundle.identity}


def test_a_score_is_what_scan_says(client: TestClient, samples: Path, bundle: Bundle) -> None:
    answer = score(client, (samples / TWO_FACES).read_bytes())
    assert answer.status_code == 200
    said, scanned = answer.json(), Detector(bundle).scan_file(samples / TWO_FACES)
    assert (said["verdict"], said["p_fake"], said["model"]) == ("fake", scanned.p_fake, bundle.identity)
    assert [face["box_xyxy"] for face in said["faces"]] == [list(face.box_xyxy) for face in scanned.faces]
    assert (said["width"], said["height"]) == (1024, 600)
    assert [said[name] for name in ("deciding_face", "too_small", "doubtful")] == [0, 0, 0]
    assert [(face["roll_degrees"], face["doubt"]) for face in said["faces"]] == [
        (face.roll_degrees, None) for face in scanned.faces
    ]


def test_a_face_that_is_too_small_has_no_score(client: TestClient, astronaut: np.ndarray) -> None:
    said = score(client, encoded(cv2.resize(astronaut, (160, 160)), "PNG")).json()
    assert (said["verdict"], said["p_fake"], said["deciding_face"], said["too_small"]) == ("no_face", None, None, 1)
    assert [(face["p_fake"], face["verdict"], face["doubt"]) for face in said["faces"]] == [
        (None, "uncertain", "too_small")
    ]


@pytest.mark.parametrize("small_faces", [True, False])
def test_the_search_for_small_faces_can_be_off(
    small_faces: bool, client_of: Callable[..., TestClient], samples: Path
) -> None:
    said = score(client_of(small_faces=small_faces), (samples / TWO_FACES).read_bytes()).json()
    assert ("small faces off" in said["rule"]) == (not small_faces)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"no picture", 415, "not a picture"),
        (b"", 415, "not a picture"),
        (encoded(np.zeros((9, 9, 3), np.uint8), "JPEG")[:200], 415, "truncated"),
        (encoded(Image.new("1", (9000, 9000)), "PNG"), 415, "more than the limit of 50 megapixels"),
    ],
    ids=["text", "empty", "cut", "a bomb"],
)
def test_what_is_no_picture_is_a_415_with_the_reason(
    client: TestClient, content: bytes, status: int, said: str
) -> None:
    answer = score(client, content)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_a_form_without_a_file_is_a_422(client: TestClient) -> None:
    for options in ({"data": {"file": "text"}}, {}, {"json": {"file": "text"}}):
        answer = client.post("/v1/score", **options)
        assert answer.status_code == 422
        assert "the field 'file'" in answer.json()["detail"]


def test_the_schema_names_what_there_is(client: TestClient) -> None:
    schema = client.get("/v1/openapi.json").json()
    paths = {path: list(methods) for path, methods in schema["paths"].items()}
    assert (schema["servers"], paths) == ([{"url": "/v1"}], {"/health": ["get"], "/score": ["post"]})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "TRACE"])
def test_another_method_is_a_405(method: str, client: TestClient) -> None:
    answer = client.request(method, "/v1/score")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_an_upload_is_not_kept(client: TestClient, samples: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert score(client, (samples / TWO_FACES).read_bytes()).status_code == 200
    assert list(tmp_path.iterdir()) == []


# Limits


def test_a_large_upload_is_a_413(client_of: Callable[..., TestClient]) -> None:
    assert score(client_of(Limits(upload_mb=0.01)), bytes(20_000)).status_code == 413


def test_too_many_requests_are_a_429(client_of: Callable[..., TestClient]) -> None:
    client = client_of(Limits(requests_per_minute=3))
    answers = [score(client, b"x") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [415, 415, 415, 429, 429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert client.get("/v1/health").status_code == 200


@pytest.mark.parametrize("path", ["/v1/score", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/cancel"])
def test_an_upload_of_unknown_length_is_a_411(client: TestClient, path: str) -> None:
    assert client.post(path, content=iter([b"a", b"b"])).status_code == 411


def test_wrong_passwords_are_slowed_down(client_of: Callable[..., TestClient]) -> None:
    client = client_of(Limits(requests_per_minute=3), auth=("me", "secret"))
    assert [client.get("/", auth=("me", guess)).status_code for guess in "abcde"] == [401, 401, 401, 429, 429]
    assert client.get("/v1/health", auth=("me", "secret")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/score", "/gradio_api/queue/join", "/gradio_api/upload"])
def test_every_post_counts(path: str, client_of: Callable[..., TestClient]) -> None:
    client = client_of(Limits(requests_per_minute=2))
    statuses = [client.post(path, json={}).status_code for _ in range(4)]
    assert statuses[2:] == [429, 429]
    assert 429 not in statuses[:2]


# Strangers


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Basic", 401),
        ("Basic !!!", 401),
        ("Bearer x", 401),
        ("Basic " + base64.b64encode(b"me:wrong").decode(), 401),
        ("Basic " + base64.b64encode("me:gehe\u00efm".encode()).decode(), 200),
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1/health", "/v1/openapi.json", "/gradio_api/info", "/config"])
def test_a_password_is_asked_for_everywhere(
    path: str, header: str | None, status: int, client_of: Callable[..., TestClient]
) -> None:
    client = client_of(auth=("me", "gehe\u00efm"))
    headers = {"Authorization": header} if header else {}
    assert client.get(path, headers=headers).status_code == status


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:7860", 200), ("localhost:1", 200), ("evil.example", 400)])
def test_the_name_of_another_is_no_way_in(host: str, status: int, client: TestClient) -> None:
    assert client.get("/v1/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_page_of_another_cannot_use_it(host: str, origin: str, client_of: Callable[..., TestClient]) -> None:
    client = client_of(host=host)
    for method, path in (("POST", "/v1/score"), ("OPTIONS", "/gradio_api/queue/join"), ("GET", "/config")):
        assert client.request(method, path, headers={"Origin": origin}).status_code == 403
    assert client.get("/config", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/gradio_api/run/score", "/api/score", "/gradio_api/process_recording", "/gradio_api/deep_link"),
        *("/gradio_api/component_server", "/gradio_api/reset", "/openapi.json", "/login", "/proxy=http://a/"),
    ],
)
def test_what_the_page_does_not_need_is_not_there(path: str, client: TestClient) -> None:
    assert [client.get(path).status_code, client.post(path, json={}).status_code] == [404, 404]


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "setup.cfg", "edge/scan.py"])
def test_no_file_of_the_host_is_reached(path: str, client: TestClient) -> None:
    for route in ("/gradio_api/file=", "/file=", "/shown/"):
        assert client.get(f"{route}{path}").status_code in (403, 404), route


def test_the_page_takes_nothing_from_elsewhere(client: TestClient) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "connect-src 'self' data: blob:" in policy
    assert "frame-ancestors 'self' https://huggingface.co;" in policy
    assert client.get("/").headers["X-Content-Type-Options"] == "nosniff"


def test_a_space_has_the_gradio_that_is_asked_for() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = next(line for line in setup["options.extras_require"]["web"].split() if line.startswith("gradio"))
    (version,) = re.findall(r"^sdk_version: (.+)$", (ROOT / "spaces" / "README.md").read_text("utf-8"), re.MULTILINE)
    assert version in Requirement(wanted).specifier


@pytest.mark.parametrize("phone", [True, False])
def test_the_page_links_to_the_phone_page_where_it_is(client_of: Callable[..., TestClient], phone: bool) -> None:
    assert ('href=\\"phone/\\"' in client_of(phone=phone).get("/").text) == phone


def test_the_phone_page_is_served_beside_it(client_of: Callable[..., TestClient], bundle: Bundle) -> None:
    client = client_of(phone=True)
    assert "<title>facetell</title>" in client.get("/phone/").text
    assert client.get("/phone").url.path == "/phone/"
    for name, content in site_files(bundle).items():
        answer = client.get(f"/phone/{name}")
        assert (answer.status_code, answer.content) == (200, content)
    assert client.get("/phone/litert/litert.wasm").headers["content-type"] == "application/wasm"


@pytest.mark.parametrize("name", ["no.js", "%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "..%5c..%5cetc%5cpasswd"])
def test_the_phone_page_gives_nothing_but_its_files(client_of: Callable[..., TestClient], name: str) -> None:
    assert client_of(phone=True).get(f"/phone/{name}").status_code == 404


def test_the_phone_page_is_sent_once(client_of: Callable[..., TestClient]) -> None:
    client = client_of(phone=True)
    answer = client.get("/phone/main.js")
    assert answer.headers["Cache-Control"] == "no-cache"
    again = client.get("/phone/main.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/phone/main.js", headers={"If-None-Match": 'W/"other"'}).status_code == 200


def test_the_phone_page_says_how_large_a_file_is(client_of: Callable[..., TestClient], bundle: Bundle) -> None:
    answer = client_of(phone=True).head("/phone/bundle/float32.tflite")
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(bundle.classifiers["float32"].content))


@pytest.mark.parametrize("accepted", ["gzip, br", "identity"])
def test_the_phone_page_is_sent_packed_where_that_is_understood(
    client_of: Callable[..., TestClient], bundle: Bundle, accepted: str
) -> None:
    answer = client_of(phone=True).get("/phone/litert/litert.wasm", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == ("gzip" if "gzip" in accepted else None)
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.content == site_files(bundle)["litert/litert.wasm"]


def test_without_being_asked_for_there_is_no_phone_page(client: TestClient) -> None:
    assert client.get("/phone/sw.js").status_code == 404
