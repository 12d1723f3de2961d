from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from facetell.edge.manifest import Record, read_manifest, write_manifest
from facetell.pipeline.leaks import Leak, leak_table
from facetell.pipeline.survey import survey
from facetell.pipeline.traits import FEATURES
from facetell.tools.cli import run as facetell

from ..pictures import pattern, record, save

PICTURES = 24


def written(folder: Path, sets: dict[tuple[str, str], dict[str, object]]) -> Path:
    """Write 24 pictures for each (source, label), changed as told: darker, smaller, saved in another format."""
    records: list[Record] = []
    for number, ((source, label), change) in enumerate(sets.items()):
        for seed in range(PICTURES):
            path = f"{label}/{source}{seed}{change.get('ending', '.png')}"
            picture = pattern(1000 * number + seed, int(change.get("size_px", 48)))
            options = {"quality": change["quality"]} if "quality" in change else {}
            save(folder / path, (picture * float(change.get("light", 1.0))).astype(np.uint8), **options)
            records.append(record(path, label, source=source))
    write_manifest(folder, records)
    return folder


def leaks(folder: Path) -> list[Leak]:
    return survey(folder).leaks


CHANGES = {
    # what sets the fakes apart -> the change and the features that tell
    "nothing": ({}, set()),
    "dark": ({"light": 0.5}, {"brightness", "border brightness"}),
    "small": ({"size_px": 32}, {"width", "height"}),
    "JPEG": ({"ending": ".jpg", "quality": 60}, {"JPEG table"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_gives_the_label_away_is_named(tmp_path: Path, name: str) -> None:
    change, telling = CHANGES[name]
    (leak,) = leaks(written(tmp_path, {("set", "real"): {}, ("set", "fake"): change}))
    assert (leak.real_source, leak.fake_source, leak.real, leak.fake) == ("set", "set", PICTURES, PICTURES)
    assert {feature for feature, auc in leak.auc_by_feature.items() if auc > 0.95} >= telling
    assert leak.auc > 0.95 if telling else leak.auc < 0.75


def test_a_better_quality_is_told_from_a_worse_one(tmp_path: Path) -> None:
    jpeg = {("set", label): {"ending": ".jpg", "quality": quality} for label, quality in (("real", 90), ("fake", 50))}
    assert leaks(written(tmp_path, jpeg))[0].auc_by_feature["JPEG table"] == 1


def test_sources_of_one_label_are_compared_with_those_of_the_other(tmp_path: Path) -> None:
    sets = {("both", "real"): {}, ("both", "fake"): {}, ("photos", "real"): {}, ("made", "fake"): {"light": 0.3}}
    found = leaks(written(tmp_path, sets))
    assert [(leak.real_source, leak.fake_source) for leak in found] == [
        ("both", "both"),
        ("both", "made"),
        ("photos", "both"),
        ("photos", "made"),
        ("all", "all"),
    ]
    assert [leak.auc > 0.95 for leak in found[:4]] == [False, True, False, True]


def test_pictures_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    folder = written(tmp_path, {("set", "real"): {}, ("set", "fake"): {}})
    (folder / "real" / "set0.png").write_bytes(b"no picture")
    (folder / "fake" / "set0.png").unlink()
    assert {(leak.real, leak.fake) for leak in leaks(folder)} == {(PICTURES - 1, PICTURES - 1)}


def test_pictures_of_one_group_cannot_be_told_from_it(tmp_path: Path) -> None:
    folder = written(tmp_path, {("set", "real"): {}, ("set", "fake"): {}})
    write_manifest(folder, [replace(known, group="one video") for known in read_manifest(folder)])
    assert leaks(folder) == []


@pytest.mark.parametrize("label", ["real", "fake"])
def test_pictures_of_one_label_cannot_be_compared(
    tmp_path: Path, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert facetell(["audit", str(written(tmp_path, {("set", label): {}}))]) == 1
    assert "wanted 20 real and 20 fake ones, each of at least 5 groups" in capsys.readouterr().err


def test_the_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, {("set", "real"): {}, ("set", "fake"): {"light": 0.5}})
    assert facetell(["audit", str(folder)]) == 0
    assert capsys.readouterr().out == f"{leak_table(leaks(folder))}\n"


def test_a_raw_folder_is_measured_as_what_is_merged_of_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "set", {("set", "real"): {}, ("set", "fake"): {"light": 0.5}})
    merged = leaks(folder)
    (folder / "manifest.csv").unlink()
    assert leaks(folder) == merged


def test_the_table_names_the_three_strongest_features() -> None:
    by_feature = dict.fromkeys(FEATURES, 0.5) | {"width": 0.9, "contrast": 0.7, "sharpness": 0.8}
    table = leak_table([Leak("a", "b", 3, 4, 0.914, by_feature)])
    assert table.rows[-1] == ("a", "b", "3 / 4", "0.91", "width 0.90, sharpness 0.80, contrast 0.70")
