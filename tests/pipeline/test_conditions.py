"""Faces that lie otherwise than they were cut: found again as a scan would, or counted as not found."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from facetell.edge.crops import CropSettings, read_crop
from facetell.edge.cut import centre
from facetell.edge.manifest import Record, read_manifest
from facetell.pipeline.conditions import EVERY, MOVES, score_condition

from ..pictures import pattern, record, save


def seen_under(condition: str, crops: Path, records: list[Record]) -> list[np.ndarray | None]:
    """Return what a detector is shown of each crop, (S, S, 3) float32; None where no face was found."""
    shown: list[np.ndarray] = []

    def numbered(images: np.ndarray) -> np.ndarray:
        shown.extend(images)
        return np.arange(len(shown) - len(images), len(shown), dtype=np.float32)[:, np.newaxis]

    numbers = score_condition(numbered, crops, records, condition)
    return [None if np.isnan(number) else shown[int(number)] for number in numbers]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far two pictures are apart where they are sharp in neither, 0..255."""
    small = [image.reshape(28, 8, 28, 8, 3).mean(axis=(1, 3)) for image in (one, other)]
    return float(np.abs(small[0] - small[1])[5:-5, 5:-5].mean())


def test_the_conditions_are_those_of_the_edge_and_three_more() -> None:
    assert EVERY == ("clean", "JPEG 50", "half size", "blur", "social media", "tilted", "on its side", "small")


@pytest.mark.parametrize("condition", MOVES)
def test_a_moved_face_is_found_and_shown_upright_again(condition: str, crops: Path) -> None:
    records = read_manifest(crops)
    assert {record.sha256[-1] in "13579bdf" for record in records} == {False, True}  # to the left and to the right
    clean, seen = (seen_under(name, crops, records) for name in ("clean", condition))
    found = [(view, own) for view, own in zip(seen, clean, strict=True) if view is not None and own is not None]
    assert len(found) >= 0.9 * len(records)
    assert {view.shape for view, _ in found} == {(224, 224, 3)}
    assert max(apart(view, own) for view, own in found) < 25
    assert np.median([apart(view, own) for view, own in found]) < 15


@pytest.mark.parametrize("condition", ["tilted", "on its side"])
def test_without_turning_it_upright_it_would_be_another_picture(condition: str, crops: Path) -> None:
    for known in read_manifest(crops):
        crop = read_crop(crops, known)
        moved = MOVES[condition](crop, known, 224 / known.room_ratio)
        assert apart(centre(moved, 224).astype(float), centre(crop, 224).astype(float)) > 28


def test_what_is_small_has_lost_detail_and_what_is_turned_has_not(crops: Path) -> None:
    records = read_manifest(crops)[:6]

    def detail(condition: str) -> np.ndarray:
        views = [view for view in seen_under(condition, crops, records) if view is not None]
        assert len(views) == len(records)
        return np.array([np.abs(np.diff(view, axis=1)).mean() for view in views])

    assert (detail("small") < 0.9 * detail("on its side")).all()


@pytest.fixture
def with_nothing(tmp_path: Path, crops: Path) -> tuple[Path, list[Record]]:
    """Three crops: a face, a pattern that is none, and a face."""
    folder = shutil.copytree(crops, tmp_path / "crops")
    records = read_manifest(crops)[:3]
    save(folder / records[1].path, pattern(0, 256))
    return folder, records


@pytest.mark.parametrize("condition", MOVES)
def test_a_face_that_is_not_found_has_no_score(condition: str, with_nothing: tuple[Path, list[Record]]) -> None:
    assert [view is None for view in seen_under(condition, *with_nothing)] == [False, True, False]


@pytest.mark.parametrize("condition", MOVES)
def test_no_face_at_all_is_no_score_at_all(condition: str, with_nothing: tuple[Path, list[Record]]) -> None:
    folder, records = with_nothing
    assert seen_under(condition, folder, records[1:2]) == [None]


@pytest.mark.parametrize("condition", EVERY)
def test_pictures_that_are_crops_already_are_turned_and_not_looked_for(condition: str, tmp_path: Path) -> None:
    """Patterns: no face could be found in them. Their centre is what a detector sees, as when they are upright."""
    records = [record(f"real/{number}.png", "real", sha256=str(number)) for number in range(2)]
    for number, known in enumerate(records):
        save(tmp_path / known.path, pattern(number, 256))
    settings = CropSettings(pre_cropped=True)
    (tmp_path / "crop.json").write_text(json.dumps({"settings": asdict(settings)}))
    for number, view in enumerate(seen_under(condition, tmp_path, records)):
        assert view is not None
        assert view.shape == (224, 224, 3)
        upright = np.rot90(view, 1 if number % 2 == 0 else 3) if condition == "on its side" else view
        assert condition == "tilted" or apart(upright, centre(pattern(number, 256), 224).astype(float)) < 20


def test_a_crop_whose_room_is_not_known_has_a_face_that_fills_it(crops: Path) -> None:
    """Of records without room_ratio: 64 pixels are then the whole square, and shown so."""
    known = replace(read_manifest(crops)[0], room_ratio=0.0)
    crop = read_crop(crops, known)
    small = MOVES["small"](crop, known, 224.0)
    assert small.shape == (73, 73, 3)
    assert all(view is None or view.shape == (224, 224, 3) for view in seen_under("small", crops, [known]))
