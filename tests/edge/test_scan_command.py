"""facetell scan: what it says of pictures, as its options ask, and where its rows go."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facetell.edge.bundle import Bundle
from facetell.edge.runtime import installed_runtimes

from ..pictures import save
from ..program import DONE, Scan, scan_in_a_process

FACES = {
    "fake_astronaut_with_hoppers_face.jpg": 1,
    "fake_hopper_with_astronauts_face.jpg": 1,
    "group.jpg": 13,
    "no_face_coffee.jpg": 0,
    "enlarged.jpg": 1,
    "grey_at_the_edge.jpg": 1,
    "small_on_transparency.png": 1,
    "real_astronaut.jpg": 1,
    "real_grace_hopper.jpg": 1,
    "real_turned_by_exif.jpg": 1,
    "two_faces.jpg": 2,
}


# What a scan says


def test_every_sample_gives_one_object(scan: Scan, samples: Path, bundle: Bundle) -> None:
    rows = scan.rows(samples, "-q")
    assert {Path(row["path"]).name: len(row["faces"]) for row in rows} == FACES
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    for row in rows:
        assert (row["status"], row["error"]) == ("ok", None)
        assert (row["model"], row["precision"]) == (bundle.identity, "float32")
        assert row["latency_ms"] > 0
        with Image.open(row["path"]) as image:
            assert sorted((row["width"], row["height"])) == sorted(image.size)
        doubts = Counter(face["doubt"] for face in row["faces"] if face["doubt"])
        is_group = Path(row["path"]).name == "group.jpg"
        assert doubts == ({"too_small": 2, "not_frontal": 1} if is_group else {})
        assert (row["too_small"], row["doubtful"]) == (doubts["too_small"], 0)
        if row["faces"]:
            assert row["deciding_face"] == 0
            judged = [face["p_fake"] for face in row["faces"] if face["doubt"] != "too_small"]
            assert row["p_fake"] == max(judged) == row["faces"][0]["p_fake"]
            assert row["verdict"] == row["faces"][0]["verdict"] == bundle.thresholds.verdict(row["p_fake"])
        else:
            assert (row["verdict"], row["p_fake"], row["deciding_face"]) == ("no_face", None, None)
        for face in row["faces"]:
            x_min, y_min, x_max, y_max = face["box_xyxy"]
            assert max(x_min, 0) < min(x_max, row["width"])
            assert max(y_min, 0) < min(y_max, row["height"])
            assert face["p_fake"] is None if face["doubt"] == "too_small" else 0 <= face["p_fake"] <= 1
            assert 0.5 <= face["score"] <= 1
            assert abs(face["roll_degrees"]) < (90 if is_group else 20)
    assert scan.err == ""


def test_csv_has_a_row_for_each_face(scan: Scan, samples: Path) -> None:
    assert scan(samples) == DONE
    rows = [Path(row["path"]).name for row in csv.DictReader(io.StringIO(scan.out))]
    assert rows == [name for name, faces in FACES.items() for _ in range(max(faces, 1))]
    assert scan.err.count("\n") == 1
    assert f"Scanned {len(FACES)} files" in scan.err
    assert "A verdict is evidence, not proof." in scan.err


def test_a_picture_turned_by_exif_scores_like_the_upright_one(scan: Scan, samples: Path) -> None:
    turned, upright = scan.rows(samples / "real_turned_by_exif.jpg", samples / "real_astronaut.jpg")
    assert turned["p_fake"] == pytest.approx(upright["p_fake"], abs=0.1)
    assert turned["faces"][0]["roll_degrees"] == pytest.approx(upright["faces"][0]["roll_degrees"], abs=3)
    assert turned["faces"][0]["box_xyxy"] == pytest.approx(upright["faces"][0]["box_xyxy"], abs=3)


def test_the_same_scan_gives_the_same_scores(scan: Scan, samples: Path) -> None:
    first, second = ([row["p_fake"] for row in scan.rows(samples)] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_precision(precision: str, scan: Scan, astronaut_file: Path) -> None:
    (row,) = scan.rows(astronaut_file, "--precision", precision)
    assert row["precision"] == precision
    assert len(row["faces"]) == 1


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_runtime(runtime: str, scan: Scan, astronaut_file: Path) -> None:
    assert len(scan.rows(astronaut_file, "--runtime", runtime)) == 1


@pytest.mark.parametrize(("threshold", "verdict"), [("0", "fake"), ("p", "fake"), ("above", "real"), ("1", "real")])
def test_threshold(threshold: str, verdict: str, scan: Scan, astronaut_file: Path) -> None:
    """Fake at or above it, real below, never uncertain."""
    (row,) = scan.rows(astronaut_file)
    given = {"p": str(row["p_fake"]), "above": str(row["p_fake"] + 1e-6)}.get(threshold, threshold)
    (row,) = scan.rows(astronaut_file, "--threshold", given)
    assert row["verdict"] == row["faces"][0]["verdict"] == verdict


@pytest.mark.parametrize("pre_cropped", [(), ("--pre-cropped",)], ids=["find", "pre-cropped"])
def test_careful_is_sure_only_where_every_variation_agrees(
    pre_cropped: tuple[str, ...], scan: Scan, samples: Path
) -> None:
    name = samples / "two_faces.jpg"
    plain, careful = (
        [face for row in scan.rows(name, *pre_cropped, *how) for face in row["faces"]] for how in ([], ["--careful"])
    )
    means = [face["p_fake"] for face in careful]
    assert len(careful) == len(plain)
    assert means != [face["p_fake"] for face in plain]
    assert means == pytest.approx([face["p_fake"] for face in plain], abs=0.25)
    for threshold in means:  # a mean lies between the variations, so the threshold there parts them
        (row,) = scan.rows(name, *pre_cropped, "--careful", "--threshold", str(threshold))
        assert [face["verdict"] for face in row["faces"] if face["p_fake"] == threshold] == ["uncertain"]
        assert row["verdict"] == row["faces"][0]["verdict"]
    for threshold, verdict in (("0", "fake"), ("1", "real")):
        (row,) = scan.rows(name, *pre_cropped, "--careful", "--threshold", threshold)
        assert {face["verdict"] for face in row["faces"]} == {verdict}


@pytest.mark.parametrize(("how", "faces", "rule"), [("on", 1, ""), ("off", 0, ", small faces off")])
def test_small_faces(how: str, faces: int, rule: str, scan: Scan, astronaut: np.ndarray, tmp_path: Path) -> None:
    canvas = np.full((3000, 3000, 3), 128, np.uint8)
    canvas[1400:1600, 1400:1600] = cv2.resize(astronaut[:300, 75:375], (200, 200))  # the face: a 45th of the side
    save(tmp_path / "small.png", canvas)
    (row,) = scan.rows(tmp_path / "small.png", "--small-faces", how)
    assert len(row["faces"]) == faces
    (row_by_default,) = scan.rows(tmp_path / "small.png")
    assert row["rule"] == row_by_default["rule"] + rule


@pytest.mark.parametrize(("side", "verdict", "too_small"), [(480, "real", 0), (160, "no_face", 1)])
def test_a_table_counts_faces_too_small_to_judge(
    side: int, verdict: str, too_small: int, scan: Scan, astronaut: np.ndarray, tmp_path: Path
) -> None:
    save(tmp_path / "a.png", cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA))
    (row,) = scan.rows(tmp_path / "a.png")
    assert (row["verdict"], row["too_small"]) == (verdict, too_small)
    scan(tmp_path / "a.png", "--format", "table")
    assert ("a.png: 1 face too small to judge" in scan.out) == bool(too_small)
    assert scan.out.splitlines()[1].startswith(verdict.replace("_", " "))


@pytest.mark.parametrize("name", ["no_face_coffee.jpg", "two_faces.jpg"])
def test_pre_cropped_takes_each_picture_for_one_face(name: str, scan: Scan, samples: Path) -> None:
    (row,) = scan.rows(samples / name, "--pre-cropped")
    (face,) = row["faces"]
    assert face["box_xyxy"] == [0, 0, row["width"], row["height"]]
    assert row["verdict"] in ("real", "fake", "uncertain")


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 4000), (2, 32_766), (32_766, 2)])
@pytest.mark.parametrize("pre_cropped", [False, True], ids=["find", "pre-cropped"])
def test_pictures_of_any_shape_are_scored(pre_cropped: bool, size: tuple[int, int], scan: Scan, tmp_path: Path) -> None:
    Image.new("RGB", size, "grey").save(tmp_path / "odd.png")
    (row,) = scan.rows(tmp_path / "odd.png", *(["--pre-cropped"] if pre_cropped else []))
    assert len(row["faces"]) == pre_cropped


@pytest.mark.parametrize(("limit", "status"), [("0.2", "error"), ("0.27", "ok"), ("500", "ok")])
def test_the_limit_on_pixels(limit: str, status: str, scan: Scan, astronaut_file: Path) -> None:
    scan(astronaut_file, "--max-megapixels", limit, "--format", "jsonl")
    assert json.loads(scan.out)["status"] == status


@pytest.mark.parametrize("workers", [1, 3])
def test_workers(workers: int, scan: Scan, samples: Path) -> None:
    names = [Path(row["path"]).name for row in scan.rows(samples, "--workers", str(workers))]
    assert names == [Path(row["path"]).name for row in scan.rows(samples)]


# Where results go


@pytest.mark.parametrize(
    ("options", "format"),
    [
        ([], "csv"),
        (["-o", "out.csv"], "csv"),
        (["-o", "out.json"], "json"),
        (["-o", "out.jsonl"], "jsonl"),
        (["-o", "OUT.JSONL"], "jsonl"),
        (["-o", "out.txt"], "table"),
        (["-o", "below/and/below/out.json"], "json"),
        (["-o", "out.csv", "--format", "jsonl"], "jsonl"),
        (["-o", "-"], "csv"),
        (["--format", "json"], "json"),
        (["--format", "jsonl"], "jsonl"),
        (["--format", "csv"], "csv"),
        (["--format", "table"], "table"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_formats_and_their_endings(
    options: list[str], format: str, scan: Scan, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert scan(photos, *options) == DONE
    text = scan.out
    if "-o" in options and "-" not in options:
        assert text == ""
        text = Path(options[1]).read_text(encoding="utf-8")
    first = {"csv": "path,status,verdict", "json": "[\n{", "jsonl": '{"path": ', "table": "verdict "}[format]
    assert text.startswith(first)
    assert text.endswith("\n")
    if format == "json":
        assert len(json.loads(text)) == 1
    assert "Scanned 1 file in" in scan.err


def test_quiet_says_nothing_on_stderr(scan: Scan, photos: Path) -> None:
    assert scan(photos, "-q") == DONE
    assert scan.err == ""


def test_nothing_but_results_and_the_summary_is_written(samples: Path) -> None:
    """In a process of its own, for the runtime writes past Python's sys.stderr."""
    done = scan_in_a_process(samples)
    assert done.returncode == DONE
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == sum(max(faces, 1) for faces in FACES.values())
    assert done.stderr.count("\n") == 1


def test_a_picture_with_broken_exif_is_scanned_without_a_warning(astronaut_file: Path, tmp_path: Path) -> None:
    with Image.open(astronaut_file) as image:
        image.save(tmp_path / "broken.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    done = scan_in_a_process(tmp_path / "broken.jpg", "-q", "--format", "jsonl")
    assert done.returncode == DONE
    assert len(json.loads(done.stdout)["faces"]) == 1
    assert done.stderr == ""
