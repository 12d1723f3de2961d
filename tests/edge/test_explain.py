"""Where the network looked: the evidence adds up to the score, and is painted where the face is."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, EXPLAIN, MANIFEST
from facetell.edge.detector import Detector
from facetell.edge.explain import Explainer
from facetell.edge.images import read_image
from facetell.edge.results import FaceResult
from facetell.tools.cli import run

FAKE = "fake_hopper_with_astronauts_face.jpg"
FACES = ["real_astronaut.jpg", "real_grace_hopper.jpg", FAKE, "two_faces.jpg"]


@pytest.fixture(scope="module")
def explainer(detector: Detector) -> Explainer:
    return Explainer(detector)


@pytest.mark.parametrize("name", FACES)
def test_the_evidence_adds_up_to_the_score(name: str, samples: Path, detector: Detector, explainer: Explainer) -> None:
    image = read_image(samples / name)
    for face in detector.detect(image):
        evidence = explainer.evidence(detector.crop(image, face.box_xyxy, face.roll_degrees))
        assert evidence.shape == (7, 7)
        assert 1 / (1 + math.exp(-evidence.mean())) == pytest.approx(face.p_fake, abs=0.01)  # weights of 16 bits


def test_a_sheet_shows_what_was_scored(samples: Path, detector: Detector, explainer: Explainer) -> None:
    image = read_image(samples / "real_astronaut.jpg")
    matrix = cv2.getRotationMatrix2D((226, 131), 30, 1)
    image = cv2.warpAffine(image, matrix, (512, 512), borderMode=cv2.BORDER_REFLECT_101)
    (face,) = detector.detect(image)
    assert abs(face.roll_degrees) > 20
    shown = cv2.resize(explainer.sheet(image, [face])[:, :448], (224, 224), interpolation=cv2.INTER_AREA)
    crop = detector.crop(image, face.box_xyxy, face.roll_degrees)
    assert np.abs(shown[:190].astype(int) - crop[:190]).mean() < 6  # below are the words


TINY = FaceResult((0, 0, 20, 20), 0.9, None, "uncertain", doubt="too_small")


@pytest.mark.parametrize(("scored", "tiny", "rows"), [(1, 0, 1), (2, 30, 2), (25, 0, 20)])
def test_a_sheet_has_the_first_faces_with_a_score(
    scored: int, tiny: int, rows: int, astronaut: np.ndarray, detector: Detector, explainer: Explainer
) -> None:
    faces = [*detector.detect(astronaut) * scored, *[TINY] * tiny]
    height, width = explainer.sheet(astronaut, faces).shape[:2]
    assert (height + 8, width) == (rows * (448 + 8), 2 * 448 + 8)


def test_a_fake_is_orange_and_a_real_face_blue(samples: Path, detector: Detector, explainer: Explainer) -> None:
    redder = {}
    for name in (FAKE, "real_astronaut.jpg"):
        image = read_image(samples / name)
        sheet = explainer.sheet(image, detector.detect(image)).astype(int)
        seen, heat = sheet[:400, :440], sheet[:400, -440:]
        change = (heat - seen).mean(axis=(0, 1))
        redder[name] = change[0] - change[2]
    assert redder[FAKE] > 0 > redder["real_astronaut.jpg"]


def test_a_sheet_has_a_row_for_each_face(samples: Path, tmp_path: Path, capsys) -> None:
    for name, faces in [("real_astronaut.jpg", 1), ("two_faces.jpg", 2)]:
        output = tmp_path / f"{name}.png"
        assert run(["explain", str(samples / name), "-o", str(output)]) == 0
        height, width = read_image(output).shape[:2]
        assert height // (width // 2 - 8) == faces
    assert "not what was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_face_coffee.jpg", "-o", "out.png"], "no face that can be judged"),
        (["nowhere.jpg", "-o", "out.png"], "nowhere.jpg: no such file"),
        ([".", "-o", "out.png"], "is a folder; name one picture"),
        (["real_astronaut.jpg", "-o", "out.txt"], "wanted a name that ends in .png or .jpg"),
        (["real_astronaut.jpg", "-o", "taken.png"], "taken.png exists already"),
        (["real_astronaut.jpg", "-o", "out.png", "--model", "older"], "has no explain.tflite"),
        (["real_astronaut.jpg", "-o", "taken.png/out.png"], "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_explained_is_one_line(
    arguments: list[str], said: str, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    older = shutil.copytree(DEFAULT_BUNDLE, Path("older"))
    manifest = json.loads((older / MANIFEST).read_text())
    del manifest["explain"]
    (older / MANIFEST).write_text(json.dumps(manifest))
    Path("taken.png").touch()
    name, *options = arguments
    assert run(["explain", str(samples / name), *options]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("out.png").exists()


def test_a_changed_explainer_is_refused(bundle_copy: Path, capsys, samples: Path) -> None:
    with (bundle_copy / EXPLAIN).open("ab") as file:
        file.write(b"more")
    assert run(["scan", str(samples / FAKE), "--model", str(bundle_copy)]) == 1
    assert "explain.tflite differs from its manifest" in capsys.readouterr().err


def test_a_scan_writes_a_sheet_for_each_picture_with_a_face(samples: Path, tmp_path: Path, capsys) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(samples / "real_astronaut.jpg", tmp_path / folder / "one.jpg")
    shutil.copy(samples / "no_face_coffee.jpg", tmp_path / "a")
    (tmp_path / "a" / "broken.jpg").write_text("no picture")
    sheets = tmp_path / "sheets"
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert run(["scan", *folders, "--heatmaps", str(sheets), "--format", "jsonl"]) == 3
    assert sorted(path.name for path in sheets.iterdir()) == ["one-2.png", "one.png"]
    assert len(capsys.readouterr().out.splitlines()) == 4
