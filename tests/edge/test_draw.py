"""How faces are framed: by verdict, thinner where they are too small, dashed where they may not be faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facetell.edge.draw import COLOURS, draw_faces, words_of
from facetell.edge.images import read_image, write_image
from facetell.edge.results import DOUBTS, Doubt, FaceResult
from facetell.tools.cli import run

BOX = (200.0, 200.0, 400.0, 400.0)


def face(doubt: Doubt | None = None, verdict: str = "uncertain", box_xyxy: tuple[float, ...] = BOX) -> FaceResult:
    x_min, y_min, x_max, y_max = box_xyxy
    return FaceResult((x_min, y_min, x_max, y_max), 0.9, None if doubt == "too_small" else 0.97, verdict, doubt=doubt)


def drawn(*faces: FaceResult) -> np.ndarray:
    image = np.zeros((700, 700, 3), np.uint8)
    draw_faces(image, faces)
    return image


@pytest.mark.parametrize(
    ("doubt", "verdict", "words"),
    [
        (None, "fake", "fake 0.97"),
        (None, "real", "real 0.97"),
        *((doubt, "uncertain", DOUBTS[doubt]) for doubt in DOUBTS),
    ],
)
def test_the_words_are_the_verdict_or_the_doubt(doubt: Doubt | None, verdict: str, words: str) -> None:
    assert words_of(face(doubt, verdict)) == words


@pytest.mark.parametrize(
    ("doubt", "verdict", "share"),
    [
        (None, "fake", 1),
        (None, "real", 1),
        ("not_frontal", "uncertain", 1),
        ("too_small", "uncertain", 1),
        ("may_not_be_a_face", "uncertain", 0.5),
    ],
)
def test_a_frame_has_the_colour_of_the_verdict_and_is_dashed_in_doubt(
    doubt: Doubt | None, verdict: str, share: float
) -> None:
    image = drawn(face(doubt, verdict))
    for side in (image[390:410, 220:380], image[220:380, 390:410].swapaxes(0, 1)):  # the words stand above
        assert side.any(axis=(0, 2)).mean() == pytest.approx(share, abs=0.15)
        assert side.max(axis=(0, 1)).tolist() == pytest.approx(COLOURS[verdict], abs=60)  # the edges are smoothed
    assert not image[230:370, 230:370].any()


def test_a_thin_frame_is_thinner() -> None:
    thick, thin = ((drawn(face(doubt))[390:410, 300] > 0).any(axis=1).sum() for doubt in (None, "too_small"))
    assert thin < thick


@pytest.mark.parametrize(("count", "has_words"), [(1, True), (3, True), (4, False), (50, False)])
def test_many_small_faces_have_no_words(count: int, has_words: bool) -> None:
    places = [(40.0 * (number % 16) + 10, 100.0 + 40 * (number // 16)) for number in range(count)]
    small = [face("too_small", box_xyxy=(x, y, x + 24, y + 24)) for x, y in places]
    image = drawn(face(verdict="real", box_xyxy=(300, 500, 400, 600)), *small)
    filled = (image[:400] == COLOURS["uncertain"]).all(axis=2)
    assert (filled.sum() > count * 4 * 30 * 3) == has_words
    assert (image[460:500] == COLOURS["real"]).all(axis=2).sum() > 1000  # the others have theirs


def test_a_picture_as_small_as_a_face_can_be_drawn_on() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    draw_faces(image, [face(doubt, box_xyxy=(-3, -3, 12, 12)) for doubt in (*DOUBTS, None)])
    assert image.any()


@pytest.mark.parametrize(
    ("name", "drawing", "count"),
    [("group.jpg", "a.png", 13), ("real_turned_by_exif.jpg", "a.png", 1), ("two_faces.jpg", "a.jpeg", 2)],
)
def test_a_scan_draws_the_picture_that_is_named(
    name: str, drawing: str, count: int, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / drawing
    assert run(["scan", str(samples / name), "--annotate", str(out), "--format", "jsonl"]) == 0
    faces = json.loads(capsys.readouterr().out)["faces"]
    assert len(faces) == count
    drawn, plain = read_image(out), read_image(samples / name)
    assert drawn.shape == plain.shape
    changed = np.abs(drawn.astype(int) - plain).max(axis=2) > 20
    for face in faces:
        x_min, _, x_max, y_max = (round(edge) for edge in face["box_xyxy"])
        assert changed[y_max, x_min:x_max].mean() > 0.8


def test_a_large_jpeg_is_drawn_in_its_own_pixels(astronaut: np.ndarray, tmp_path: Path, capsys: Any) -> None:
    """It is decoded smaller for the search."""
    write_image(cv2.resize(astronaut, None, fx=6, fy=6), tmp_path / "large.jpg")
    out = tmp_path / "out.png"
    assert run(["scan", str(tmp_path / "large.jpg"), "--annotate", str(out), "--format", "jsonl"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert read_image(out).shape == (6 * astronaut.shape[0], 6 * astronaut.shape[1], 3)
    x_min, _, x_max, y_max = (round(edge) for edge in face["box_xyxy"])
    changed = np.abs(read_image(out).astype(int) - read_image(tmp_path / "large.jpg")).max(axis=2) > 20
    assert changed[y_max, x_min:x_max].mean() > 0.8


def test_what_is_no_picture_is_not_drawn(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"nonsense")
    assert run(["scan", str(tmp_path / "bad.jpg"), "--annotate", str(tmp_path / "out.jpg"), "--format", "jsonl"]) == 3
    assert json.loads(capsys.readouterr().out)["status"] == "error"
    assert not (tmp_path / "out.jpg").exists()
