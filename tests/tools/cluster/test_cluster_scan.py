"""scan --cluster gives what scan gives, and goes on where it was."""

from __future__ import annotations

import os
import re
import shutil
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import pytest

pytest.importorskip("ray", reason="ray is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

from facetell.edge.images import read_image, write_image
from facetell.tools.cli import run

from ...pictures import SAMPLES, VIDEO_SIZE, write_video
from ...program import DONE, FAILED, SOME_FAILED, USAGE, one_error
from .rows import comparable, plain, rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray about itself


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, one of them broken and one of a face too small to judge, a video, a name that is no UTF-8, folders."""
    folder = tmp_path_factory.mktemp("photos")
    shutil.copytree(SAMPLES, folder / "samples", ignore=shutil.ignore_patterns("*.md", "ports"))
    (folder / "broken.jpg").write_bytes(b"broken")
    write_image(cv2.resize(read_image(SAMPLES / "real_astronaut.jpg"), (160, 160)), folder / "tiny.png")
    shutil.copy(SAMPLES / "real_astronaut.jpg", os.fsdecode(bytes(folder) + b"/caf\xe9.jpg"))
    write_video(
        folder / "portrait.avi", [cv2.resize(read_image(SAMPLES / "real_astronaut.jpg"), VIDEO_SIZE)] * 20, "MJPG"
    )
    return folder


@pytest.fixture(scope="module")
def scanned(ray_address: str, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("scanned") / "results.parquet"
    command = ["scan", str(photos), "--cluster", ray_address, "--precision", "float32", "-o", str(output)]
    assert run(command) == SOME_FAILED
    return output


def test_the_rows_are_those_of_a_plain_scan(scanned: Path, photos: Path, tmp_path: Path) -> None:
    expected = plain(photos, "--precision", "float32", output=tmp_path / "plain.jsonl")
    assert len(expected) == len(list(SAMPLES.glob("*.jpg"))) + 4
    assert comparable(rows(scanned)) == comparable(expected)


def test_rows_say_which_file_and_model_they_are_of(scanned: Path, photos: Path) -> None:
    broken = photos / "broken.jpg"
    (row,) = [row for row in rows(scanned) if row["path"] == str(broken)]
    assert row["size_bytes"] == broken.stat().st_size
    assert row["modified"] == datetime.fromtimestamp(0, UTC) + timedelta(microseconds=broken.stat().st_mtime_ns // 1000)
    assert len(row["model_sha256"]) == 64


def test_a_face_that_is_too_small_is_in_the_rows(scanned: Path) -> None:
    (row,) = [row for row in rows(scanned) if row["path"].endswith("tiny.png")]
    assert (row["verdict"], row["p_fake"], row["deciding_face"], row["too_small"]) == ("no_face", None, None, 1)
    assert [(face["doubt"], face["p_fake"]) for face in row["faces"]] == [("too_small", None)]


def test_the_overview_shows_the_most_suspicious_and_counts_all(scanned: Path, photos: Path) -> None:
    page = (scanned / "_overview.html").read_text()
    faces = [row for row in rows(scanned) if row["deciding_face"] is not None]
    tiles = [b64decode(tile) for tile in re.findall('data:image/png;base64,([^"]+)"', page)]
    assert len(tiles) == len(faces) - 1  # pictures; the video is in a table
    assert all(read_image(tile).std() > 1 for tile in tiles)  # none is the grey of a picture that is not found
    assert page.index("fake_hopper") < page.index("real_astronaut")
    assert re.search(r"<td>(?:real|uncertain) 0\.\d{3}</td><td>\S+/portrait.avi, 0-2 s</td>", page)
    assert re.search(r"<td>1</td><td>not a picture in a format that is read \(.*\); as \S+/broken.jpg</td>", page)
    assert f"<dt>files</dt><dd>{len(rows(scanned))}</dd>" in page
    assert "<dt>faces too small to judge</dt><dd>3</dd>" in page  # one, and two of the group


@pytest.fixture
def copy(scanned: Path, tmp_path: Path) -> Path:
    """The results of the scan, to be gone on with."""
    return shutil.copytree(scanned, tmp_path / "results.parquet")


def test_resume_scans_what_is_new_or_changed_alone(
    copy: Path, photos: Path, ray_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(rows(copy))
    new, changed = photos / "new.jpg", photos / "broken.jpg"
    shutil.copy(SAMPLES / "no_face_coffee.jpg", new)
    changed.write_bytes(b"broken otherwise")
    code = run(["scan", str(photos), "--cluster", ray_address, "-o", str(copy), "--resume"])
    new.unlink()
    assert code == SOME_FAILED
    assert "Scanned 2 files in" in (err := capsys.readouterr().err)
    assert f"{before} were done before." in err
    assert sorted(row["path"] for row in rows(copy)[before:]) == [str(changed), str(new)]


def test_a_file_that_was_mended_is_no_failure_any_more(
    ray_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"broken")
    command = ["scan", str(tmp_path / "photos"), "--cluster", ray_address, "-o", str(tmp_path / "out"), "--resume"]
    assert run(command) == SOME_FAILED
    shutil.copy(SAMPLES / "real_astronaut.jpg", tmp_path / "photos" / "a.jpg")
    assert run(command) == DONE
    assert run(command) == DONE
    assert "<dt>files</dt><dd>1</dd>" in (tmp_path / "out" / "_overview.html").read_text()
    assert [row["verdict"] for row in rows(tmp_path / "out")] == ["error", "real"]


def test_relative_paths_are_those_of_whoever_asks(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(SAMPLES / "real_astronaut.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(["scan", ".", "--cluster", ray_address, "-o", "out"]) == DONE
    assert [row["path"] for row in rows(tmp_path / "out")] == ["real_astronaut.jpg"]


def test_another_rule_is_another_scan(
    copy: Path, photos: Path, ray_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(rows(copy))
    command = ["scan", str(photos / "samples"), "--cluster", ray_address, "-o", str(copy), "--resume"]
    assert run([*command, "--threshold", "0.5"]) == DONE
    assert f"{copy} has no row that counts for this model and rule; all is scanned." in capsys.readouterr().err
    assert len(rows(copy)) == before + len(list(SAMPLES.glob("*.jpg")))


def test_results_are_not_written_over(
    copy: Path, photos: Path, ray_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["scan", str(photos), "--cluster", ray_address, "-o", str(copy)]) == FAILED
    assert "exists already" in one_error(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["notes.txt", "0.parquet", "9.parquet"])
def test_what_is_foreign_among_results_is_told(
    name: str, copy: Path, photos: Path, ray_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"path": ["mine"]}), copy / name)
    assert run(["scan", str(photos), "--cluster", ray_address, "-o", str(copy), "--resume"]) == FAILED
    assert "no result of such a scan" in one_error(capsys.readouterr().err)


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_a_folder_of_something_else_is_left_alone(
    options: list[str], photos: Path, ray_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert run(["scan", str(photos), "--cluster", ray_address, "-o", str(tmp_path / "mine"), *options]) == FAILED
    assert "no result of such a scan" in one_error(capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_what_does_not_exist_is_told(ray_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    assert run(["scan", str(missing), "--cluster", ray_address, "-o", str(tmp_path / "out")]) == FAILED
    assert f"{missing} does not exist" in one_error(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


MISUSED = {
    "no output": ["photos"],
    "an empty output": ["photos", "-o", ""],
    "an empty address": ["photos", "-o", "out", "--cluster", ""],
    "no paths": ["-o", "out"],
    "paths from standard input": ["-", "-o", "out"],
    "--watch": ["photos", "-o", "out", "--watch", "photos"],
    "--copy-to": ["photos", "-o", "out", "--copy-to", "copies"],
    "--format": ["photos", "-o", "out", "--format", "csv"],
}


@pytest.mark.parametrize("arguments", [["photos", "-o", "results.parquet"], ["s3://photos/", "-o", "results.jsonl"]])
def test_what_needs_a_cluster_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", *arguments]) == USAGE
    assert "--cluster auto" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_where_no_folder_can_be_is_told(
    output: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(["scan", str(photos), "--cluster", "auto", "-o", str(tmp_path / output)]) == FAILED
    assert "cannot be a folder for results" in one_error(capsys.readouterr().err)


@pytest.mark.parametrize("name", MISUSED)
def test_what_does_not_go_with_a_cluster_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", "--cluster", "auto", *MISUSED[name]]) == USAGE
    assert "Error" in capsys.readouterr().err
