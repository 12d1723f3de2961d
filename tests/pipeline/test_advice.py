import io
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from facetell.edge.manifest import write_manifest
from facetell.pipeline.advice import advise
from facetell.pipeline.eda import eda
from facetell.pipeline.merge import merge
from facetell.pipeline.page import GOOD, LOOK, MEND
from facetell.pipeline.sources import open_sources
from facetell.pipeline.survey import survey

from ..pictures import pattern, raw_patterns, record, save, tree

PICTURES = 6


def in_both_splits(folder: Path) -> None:
    shutil.copytree(folder, folder / "test")
    for label in ("real", "fake"):
        shutil.move(folder / label, folder / "train" / label)


def other_format(folder: Path) -> None:
    for path in (folder / "fake").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()


GOOD_FOLDER = [
    "0 Every picture is called real or fake, and none both.",
    "0 Every picture can be read.",
    "0 No picture is there twice.",
    "0 6 real and 6 fake pictures; training shows as many of each.",
    "0 No split is stated.",
    "1 Only 6 real and 6 fake pictures.",
    "1 Fewer than 20 pictures of a label, or of too few groups: nothing can be said of what gives the label away.",
]


def said(folder: Path) -> list[str]:
    """What is said of a folder, each with 2 in front where it must be mended, 1 where it is worth a look, 0 if good."""
    return [f"{(GOOD, LOOK, MEND).index(finding.level)} {finding.said}" for finding in advise(survey(folder))]


def test_of_a_good_folder_it_is_said_what_is_good(tmp_path: Path) -> None:
    assert sorted(said(raw_patterns(tmp_path / "raw"))) == sorted(GOOD_FOLDER)


FAULTS = {
    # what is done to a good folder -> what is said of it, and of nothing else but what is good
    "a picture that nothing calls real or fake": (
        lambda folder: save(folder / "loose.png", pattern(5)),
        ["2 Nothing calls 1 picture real or fake; loose.png for one."],
    ),
    "no fakes": (
        lambda folder: shutil.rmtree(folder / "fake"),
        ["2 There are no fake pictures that can be used."],
    ),
    "both labels by csv": (
        lambda folder: (folder / "labels.csv").write_text("file,label\nreal/0.png,fake\n"),
        [
            "2 Called both real and fake: 1 picture; real/0.png: its folder says real, labels.csv says fake.",
            "1 Only 5 real and 6 fake pictures.",
        ],
    ),
    "a copy of one that has both labels": (
        lambda folder: [
            shutil.copy(folder / "real" / "0.png", folder / "real" / "copy.png"),
            (folder / "labels.csv").write_text("file,label\nreal/0.png,fake\n"),
        ],
        [
            "2 Called both real and fake: 1 picture; real/0.png: its folder says real, labels.csv says fake.",
            "1 Only 5 real and 6 fake pictures.",
        ],
    ),
    "no picture": (
        lambda folder: (folder / "real" / "broken.heif").write_bytes(b"no picture"),
        ["2 1 picture cannot be read; real/broken.heif: not a picture in a format that is read"],
    ),
    "copies": (
        lambda folder: [shutil.copy(folder / "real" / "0.png", folder / "real" / f"{copy}.png") for copy in "ab"],
        ["1 2 copies of other pictures, byte by byte."],
    ),
    "a copy of the other label": (
        lambda folder: shutil.copy(folder / "real" / "0.png", folder / "fake" / "copy.png"),
        ["2 The same bytes are once real and once fake: 1 picture.", "1 Only 5 real and 6 fake pictures."],
    ),
    "a copy in another split": (
        in_both_splits,
        [
            "2 The same bytes stand in two splits: 12 pictures.",
            "1 12 copies of other pictures, byte by byte.",
        ],
    ),
    "a split of one label": (
        lambda folder: shutil.move(folder / "fake", folder / "valid" / "fake"),
        ["2 The validation split has no real pictures.", "1 6 pictures of no split beside those of one."],
    ),
    "no test": (
        lambda folder: [shutil.move(folder / label, folder / "train" / label) for label in ("real", "fake")],
        ["1 Stated: train; there is no test."],
    ),
    "saved again": (
        lambda folder: save(folder / "real" / "again.jpg", pattern(0, 96), quality=80),
        ["1 1 set of near-duplicates of one label", "1 Only 7 real and 6 fake pictures."],
    ),
    "saved again with the other label": (
        lambda folder: save(folder / "fake" / "again.jpg", pattern(0, 96), quality=80),
        ["1 1 set of near-duplicates with both labels.", "1 Only 6 real and 7 fake pictures."],
    ),
    "four times as many": (
        lambda folder: raw_patterns(folder, real=4 * PICTURES),
        ["1 There are 4.0 times as many real pictures as fake ones.", "1 Only 24 real and 6 fake pictures."],
    ),
    "four times as many, but the same": (
        lambda folder: [shutil.copy(folder / "real" / "0.png", folder / "real" / f"a{copy}.png") for copy in range(18)],
        ["1 18 copies of other pictures, byte by byte."],
    ),
    "another format": (other_format, ["2 The file format tells the label: real is mostly PNG, fake JPEG."]),
    "small ones": (
        lambda folder: save(folder / "real" / "small.png", pattern(77, 40)),
        ["1 1 picture with a side of fewer than 64 pixels.", "1 Only 7 real and 6 fake pictures."],
    ),
    "a film": (
        lambda folder: (folder / "film.mp4").write_bytes(b"film"),
        ["1 1 video here, of which nothing is trained."],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_said_and_nothing_else(tmp_path: Path, name: str) -> None:
    change, wanted = FAULTS[name]
    folder = raw_patterns(tmp_path / "raw")
    change(folder)
    new = [words for words in said(folder) if words not in GOOD_FOLDER and not words.startswith("0")]
    assert [any(words.startswith(start) for start in wanted) for words in new] == [True] * len(wanted), new


OF_SOURCES: dict[str, tuple[Callable[[int, str], dict[str, Any]], list[str]]] = {
    # what a picture's number and label say of its source and room -> what is said of the sources
    "as large and as roomy": (lambda number, label: {"source": f"set {number % 2}", "room_ratio": 1.5}, []),
    "nearly as roomy": (lambda number, label: {"source": f"{number % 2}", "room_ratio": 1.5 - 0.2 * (number % 2)}, []),
    "one without room": (
        lambda number, label: {"source": "tight" if number % 2 else "roomy", "room_ratio": 1.04 if number % 2 else 1.5},
        ["1 Little room around the faces: tight (1.04 times the face box); others have 1.50."],
    ),
    "all without room": (lambda number, label: {"source": f"set {number % 2}", "room_ratio": 1.0}, []),
    "one label a source": (
        lambda number, label: {"source": "stock" if label == "real" else "gan"},
        ["1 Of one label alone: gan, stock."],
    ),
    "one of a single picture": (
        lambda number, label: {"source": "photo" if (number, label) == (0, "real") else "set"},
        ["1 Of one label alone: photo.", "1 Of a single picture: photo."],
    ),
}


@pytest.mark.parametrize(("change", "wanted"), OF_SOURCES.values(), ids=OF_SOURCES)
def test_what_a_source_lacks_is_said(
    tmp_path: Path, change: Callable[[int, str], dict[str, Any]], wanted: list[str]
) -> None:
    folder = raw_patterns(tmp_path / "crops")
    records = [
        replace(record(f"{label}/{number}.png", label), **change(number, label))
        for label in ("real", "fake")
        for number in range(PICTURES)
    ]
    write_manifest(folder, records)
    assert [words for words in said(folder) if words[:1] == "1" and words not in GOOD_FOLDER] == wanted


def test_it_promises_what_merge_does(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "raw", real=9)
    shutil.copy(folder / "real" / "0.png", folder / "real" / "copy.png")
    shutil.copy(folder / "real" / "1.png", folder / "fake" / "contrary.png")
    shutil.copy(folder / "real" / "2.png", folder / "real" / "copy_of_2.png")
    (folder / "labels.csv").write_text("file,label\nreal/2.png,fake\n")
    (folder / "fake" / "broken.png").write_bytes(b"no picture")
    found = survey(folder)
    merged = merge(open_sources([folder]), tmp_path / "merged")
    assert [found.count(label) for label in ("real", "fake")] == [merged.count(label) for label in ("real", "fake")]
    assert {one.record.sha256 for one in found.kept} == {known.sha256 for known in merged.records}


def test_near_duplicates_of_a_copy_in_another_split_are_torn(tmp_path: Path) -> None:
    folder = raw_patterns(raw_patterns(tmp_path / "raw", below="train"), below="test")
    save(folder / "train" / "real" / "again.jpg", pattern(0, 96), quality=80)
    assert "2 1 set of near-duplicates torn apart by the splits." in said(folder)


def test_what_must_be_mended_comes_first(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "raw")
    (folder / "real" / "broken.jpg").write_bytes(b"no picture")
    assert [words[0] for words in said(folder)] == sorted((words[0] for words in said(folder)), reverse=True)


def test_light_that_tells_the_label_is_named(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "raw", real=24, fake=0)
    for seed in range(24):
        save(folder / "fake" / f"{seed}.png", (pattern(5000 + seed, 96) * 0.4).astype(np.uint8))
    assert any("alone tell real from fake, of raw against raw: AUC 1.00" in words for words in said(folder))


def test_a_zip_says_what_the_folder_says(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "raw")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in tree(folder).items():
            archive.writestr(name, content)
    (tmp_path / "raw.zip").write_bytes(packed.getvalue())
    assert said(tmp_path / "raw.zip") == said(folder)
    eda(tmp_path / "raw.zip", tmp_path / "report")
    assert (tmp_path / "report" / "samples.png").exists()


def test_a_manifest_of_somebody_else_makes_no_merged_data_set(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "raw")
    (folder / "manifest.csv").write_text("id,colour\n1,red\n")
    assert sorted(said(folder)) == sorted(GOOD_FOLDER)
