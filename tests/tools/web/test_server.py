"""The server: scores over REST, results from memory, and what keeps strangers out."""

from __future__ import annotations

import base64
import configparser
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio")

from fastapi.testclient import TestClient
from packaging.requirements import Requirement
from PIL import Image

from facetell.edge.bundle import Bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.tools.phone.site import site_files
from facetell.tools.web.history import Entry
from facetell.tools.web.pieces import figures_of, table_of_entries, table_of_files, title_of
from facetell.tools.web.report import report
from facetell.tools.web.scorer import Scored, Scorer
from facetell.tools.web.server import Limits, application
from facetell.tools.web.shown import Shown
from facetell.tools.web.uploads import delete_older_than

from ...conftest import ROOT
from ...pictures import encoded

TWO_FACES = "two_faces.jpg"


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


def score(client: TestClient, content: bytes, **options: Any) -> Any:
    return client.post("/v1/score", files={"file": ("a.jpg", content)}, **options)


# REST


def test_health(client: TestClient, bundle: Bundle) -> None:
    assert client.get("/v1/health").json() == {"status": "ok", "model": bundle.identity}


def test_a_score_is_what_scan_says(client: TestClient, samples: Path, bundle: Bundle) -> None:
    answer = score(client, (samples / TWO_FACES).read_bytes())
    assert answer.status_code == 200
    said, scanned = answer.json(), Detector(bundle, precision="auto").scan_file(samples / TWO_FACES)
    assert (said["verdict"], said["p_fake"], said["model"]) == ("fake", scanned.p_fake, bundle.identity)
    assert [face["box_xyxy"] for face in said["faces"]] == [list(face.box_xyxy) for face in scanned.faces]
    assert (said["width"], said["height"]) == (1024, 600)


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


# Gradio's own interface


def call(client: TestClient, path: str) -> str:
    """What Gradio says of a file by its path, or its address."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    said = client.post("/gradio_api/call/score", json={"data": [file]}).json()
    return client.get(f"/gradio_api/call/score/{said['event_id']}").text


def test_gradio_gives_the_same_score(client: TestClient, samples: Path) -> None:
    content = (samples / TWO_FACES).read_bytes()
    paths = [client.post("/gradio_api/upload", files={"files": (TWO_FACES, content)}).json()[0] for _ in range(2)]
    assert len({Path(path).parent for path in paths}) == 2  # one is deleted while the other waits
    rest = score(client, content).json()
    for path in paths:
        said = json.loads(call(client, path).partition("data: ")[2])[0]
        assert said == {key: rest[key] for key in rest if key != "path"} | {"latency_ms": said["latency_ms"]}
        assert not Path(path).parent.exists()


def test_programs_have_one_function(client: TestClient) -> None:
    info = client.get("/gradio_api/info").json()
    assert (list(info["named_endpoints"]), info["unnamed_endpoints"]) == (["/score"], {})


@pytest.mark.parametrize("path", ["/etc/passwd", "a folder/picture.jpg", "https://example.com/a.jpg"])
def test_gradio_takes_nothing_but_uploads(path: str, client: TestClient, samples: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes((samples / TWO_FACES).read_bytes())
    said = call(client, path.replace("a folder", str(tmp_path)))
    assert said.startswith("event: error")
    assert "not uploaded" in said or "not its address" in said
    assert picture.exists()


def run_all(client: TestClient, frame: dict[str, Any]) -> str:
    """What every function of the page says when it is given a file in the first place, and nothing else."""
    said = []
    for function in client.get("/config").json()["dependencies"]:
        given = [frame, *[None] * (len(function["inputs"]) - 1)]
        for data in (given, [[frame], *given[1:]]):
            event = {"data": data, "fn_index": function["id"], "session_hash": "attack"}
            client.post("/gradio_api/queue/join", json=event)
            said.append(client.get("/gradio_api/queue/data", params={"session_hash": "attack"}).text)
    return "".join(said)


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}], ids=["bare", "as a file"])
@pytest.mark.parametrize("name", ["private.jpg", "notes.svg"])
@pytest.mark.parametrize("where", ["plain", "through the uploads"])
def test_no_function_reads_or_deletes_a_file_of_the_host(
    where: str, name: str, meta: dict[str, Any], client: TestClient, samples: Path, tmp_path: Path
) -> None:
    secret = tmp_path / name
    secret.write_bytes((samples / TWO_FACES).read_bytes())
    uploads = Path(client.post("/gradio_api/upload", files={"files": ("a.jpg", b"x")}).json()[0]).parents[1]
    path = secret if where == "plain" else uploads / os.path.relpath(secret, uploads)
    said = run_all(client, {"path": str(path), "orig_name": "a.svg", **meta})
    assert secret.exists()
    for shown in ("data:image/jpeg", "98.3%", "no such file"):
        assert shown not in said


def test_a_frame_of_the_webcam_is_looked_at(client: TestClient, samples: Path) -> None:
    content = base64.b64encode((samples / TWO_FACES).read_bytes()).decode()
    assert "data:image/jpeg;base64," in run_all(client, {"path": "", "url": f"data:image/jpeg;base64,{content}"})


def test_a_frame_that_is_a_bomb_is_refused_before_it_is_decoded(client: TestClient) -> None:
    content = base64.b64encode(encoded(Image.new("1", (9000, 9000)), "PNG")).decode()
    said = run_all(client, {"path": "", "url": f"data:image/png;base64,{content}"})
    assert "more than the limit of 4 megapixels" in said


def test_a_sample_is_scored_and_stays(client: TestClient, samples: Path) -> None:
    assert call(client, str(samples / TWO_FACES)).startswith("event: complete")
    assert (samples / TWO_FACES).exists()


def test_abandoned_uploads_go(client: TestClient) -> None:
    (old,), (new,) = (client.post("/gradio_api/upload", files={"files": ("a.jpg", b"x")}).json() for _ in range(2))
    os.utime(old, (0, 0))
    delete_older_than(3600)
    assert (Path(old).parent.exists(), Path(new).exists()) == (False, True)


def test_an_upload_that_was_cut_off_goes(client: TestClient) -> None:
    (path,) = client.post("/gradio_api/upload", files={"files": ("a.jpg", b"x")}).json()
    cut_off = Path(path).parents[1] / "tmpabcdef"
    cut_off.write_bytes(b"half of it")
    os.utime(cut_off, (0, 0))
    delete_older_than(3600)
    assert not cut_off.exists()


def test_what_is_shown_is_bounded_by_its_bytes(scorer: Scorer, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = scorer.picture(samples / TWO_FACES, TWO_FACES)
    monkeypatch.setattr("facetell.tools.web.shown._KEPT_BYTES", 3 * scored.kept_bytes())
    shown = Shown(scorer.bundle)
    names = [shown.keep([scored]) for _ in range(5)]
    assert [len(shown.batch(name, None)) for name in names] == [0, 0, 1, 1, 1]
    assert len(shown.batch(shown.keep([scored] * 9), None)) == 9


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


# What was scored lately


def shown_of(scorer: Scorer, *scored: Scored) -> tuple[TestClient, str]:
    from fastapi import FastAPI

    shown, app = Shown(scorer.bundle), FastAPI()
    name = shown.keep(scored)
    app.include_router(shown.routes())
    return TestClient(app), f"/shown/{name}"


def test_pictures_and_files_of_a_result(scorer: Scorer, samples: Path) -> None:
    client, place = shown_of(scorer, scorer.picture(samples / TWO_FACES, "two & faces.jpg"))
    faces, sheet = (read_image(client.get(f"{place}/0/{part}.jpg").content) for part in ("faces", "sheet"))
    assert faces.shape == (600, 1024, 3)
    assert sheet.shape[0] > sheet.shape[1] * 0.9  # two rows
    (row,) = json.loads(client.get(f"{place}/result.json").content)
    assert (row["path"], row["verdict"], len(row["faces"])) == ("two & faces.jpg", "fake", 2)
    assert client.get(f"{place}/result.csv").text.count("\n") == 3
    assert client.get(f"{place}/result.pdf").content.startswith(b"%PDF-")
    for gone in ("/1/faces.jpg", "/0/other.jpg", "/result.exe", "/-1/faces.jpg"):
        assert client.get(place + gone).status_code in (404, 422), gone
    assert client.get("/shown/guessed/result.json").status_code == 404


@pytest.mark.parametrize(
    ("threshold", "verdicts"), [(0.05, ["fake", "fake"]), (0.5, ["fake", "real"]), (0.99, ["real"] * 2)]
)
def test_another_threshold_gives_other_verdicts(
    threshold: float, verdicts: list[str], scorer: Scorer, samples: Path
) -> None:
    client, place = shown_of(scorer, scorer.picture(samples / TWO_FACES, TWO_FACES))
    (row,) = json.loads(client.get(f"{place}/result.json?threshold={threshold}").content)
    assert [face["verdict"] for face in row["faces"]] == verdicts
    assert row["verdict"] == verdicts[0]


# Reports


def test_a_report_says_what_was_said(scorer: Scorer, samples: Path) -> None:
    pypdfium2 = pytest.importorskip("pypdfium2")
    scored = [scorer.picture(samples / name, name) for name in (TWO_FACES, "no_face_coffee.jpg")]
    document = pypdfium2.PdfDocument(report(scored, scorer.bundle))
    words = " ".join(" ".join(page.get_textpage().get_text_range().split()) for page in document)
    for said in (
        *(
            TWO_FACES,
            "no_face_coffee.jpg",
            "2 files: 1 fake, 1 no face",
            "98.3%",
            scored[0].sha256,
            scorer.bundle.identity,
        ),
        *(scorer.bundle.classifiers["float32"].sha256, "evidence, not proof", "not what was changed"),
    ):
        assert said in words, said


@pytest.mark.parametrize("name", ["顔🙂.jpg", "=1+1.jpg", "a" * 300 + ".jpg", "\x1b[31mred.jpg", "\u202egpj.exe"])
def test_any_name_has_a_report(name: str, scorer: Scorer, samples: Path) -> None:
    scored = scorer.picture(samples / "no_face_coffee.jpg", name)
    assert report([scored, scored], scorer.bundle).startswith(b"%PDF-")


HOSTILE = '<img src=x onerror="alert(1)">'


def test_a_hostile_name_is_text_on_the_page(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    result = replace(scorer.picture(tmp_path / "bad.jpg", HOSTILE).result, error=HOSTILE)
    entry = Entry(1, "2026-01-01T00:00:00", HOSTILE, "error", None, 0, HOSTILE, None)
    for drawn in (
        *(table_of_files([result], [HOSTILE]), figures_of(result), table_of_entries([entry], "")),
        *(table_of_entries([], HOSTILE), title_of(HOSTILE)),
    ):
        assert "onerror" in drawn
        assert "<img src=x" not in drawn


def test_a_report_shows_the_picture_and_where_the_network_looked(scorer: Scorer, samples: Path) -> None:
    pypdfium2 = pytest.importorskip("pypdfium2")
    scored = scorer.picture(samples / TWO_FACES, TWO_FACES)
    kinds = [
        shape.type for page in pypdfium2.PdfDocument(report([scored], scorer.bundle)) for shape in page.get_objects()
    ]
    assert kinds.count(pypdfium2.raw.FPDF_PAGEOBJ_IMAGE) == 2


def test_a_report_of_a_crowd_and_a_long_name(scorer: Scorer, samples: Path) -> None:
    scored = scorer.picture(samples / TWO_FACES, "a" * 200)
    crowd = replace(
        scored,
        result=replace(scored.result, faces=scored.result.faces * 100),
        crops=scored.crops * 100,
        evidence=scored.evidence * 100,
    )
    assert report([crowd, scored], scorer.bundle).startswith(b"%PDF-")


def test_another_threshold_takes_the_right_heat_map_along(scorer: Scorer, samples: Path) -> None:
    scored = scorer.picture(samples / TWO_FACES, TWO_FACES)
    (fake, real) = scored.result.faces
    turned = replace(
        scored, result=replace(scored.result, faces=[replace(fake, p_fake=0.1), replace(real, p_fake=0.9)])
    )
    assert [id(crop) for crop in turned.at(0.5).crops] == [id(scored.crops[1]), id(scored.crops[0])]
    assert [id(heat) for heat in turned.at(0.5).evidence] == [id(scored.evidence[1]), id(scored.evidence[0])]


def test_a_report_of_what_could_not_be_read(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    assert io.BytesIO(report([scorer.picture(tmp_path / "bad.jpg", "bad.jpg")], scorer.bundle)).read(5) == b"%PDF-"


def test_a_space_has_the_gradio_that_is_asked_for() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = next(line for line in setup["options.extras_require"]["web"].split() if line.startswith("gradio"))
    (version,) = re.findall(r"^sdk_version: (.+)$", (ROOT / "spaces" / "README.md").read_text("utf-8"), re.MULTILINE)
    assert version in Requirement(wanted).specifier


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


def test_without_being_asked_for_there_is_no_phone_page(client: TestClient) -> None:
    assert client.get("/phone/sw.js").status_code == 404
