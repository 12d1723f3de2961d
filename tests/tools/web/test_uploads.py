"""What Gradio takes and what becomes of it: uploads and samples, and no other file of the host."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

from fastapi.testclient import TestClient
from PIL import Image

from facetell.tools.web.uploads import delete_older_than

from ...pictures import encoded

TWO_FACES = "two_faces.jpg"


def call(client: TestClient, path: str) -> str:
    """What Gradio says of a file by its path, or its address."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    said = client.post("/gradio_api/call/score", json={"data": [file]}).json()
    return client.get(f"/gradio_api/call/score/{said['event_id']}").text


def test_gradio_gives_the_same_score(client: TestClient, samples: Path) -> None:
    content = (samples / TWO_FACES).read_bytes()
    paths = [client.post("/gradio_api/upload", files={"files": (TWO_FACES, content)}).json()[0] for _ in range(2)]
    assert len({Path(path).parent for path in paths}) == 2  # one is deleted while the other waits
    rest = client.post("/v1/score", files={"file": ("a.jpg", content)}).json()
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
