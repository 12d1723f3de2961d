"""What merge writes: a table of what came in, one of what did not, the same bytes each time, over nothing else."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from facetell.edge.errors import DatasetError
from facetell.edge.manifest import write_manifest

from ..pictures import fill, pattern, tree
from .merges import by_content, merged

HALF_A_JPEG = cv2.imencode(".jpg", pattern(99))[1].tobytes()[:2000]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of a real and a fake picture."""
    fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    return tmp_path / "data"


def test_the_manifest_is_a_table_with_these_columns(tmp_path: Path) -> None:
    fill(tmp_path / "data", ["train/real/a.jpg", "train/fake/b.jpg"])
    merged(tmp_path / "data", output=tmp_path / "out")
    with (tmp_path / "out" / "manifest.csv").open(newline="") as file:
        header, first, _ = csv.reader(file)
    assert header[:8] == ["path", "label", "source", "group", "split", "sha256", "width", "height"]
    row = dict(zip(header, first, strict=True))
    assert row["path"] == f"fake/{row['sha256'][:20]}.jpg"
    assert {key: row[key] for key in ("label", "source", "split", "width", "height")} == {
        "label": "fake",
        "source": "data",
        "split": "train",
        "width": "48",
        "height": "48",
    }


def test_the_same_bytes_come_in_once(data: Path, tmp_path: Path) -> None:
    fill(tmp_path / "more", ["real/copy.jpg"])
    report = merged(data, tmp_path / "more", output=tmp_path / "out")
    assert sorted(by_content(tmp_path / "out")) == sorted(tree(data).values())
    assert [(s.path, s.kind, s.detail) for s in report.skipped] == [
        ("more/real/copy.jpg", "duplicate", "of data/real/a.jpg")
    ]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("real/text.jpg", b"no picture", "unreadable"),
        ("real/empty.png", b"", "unreadable"),
        ("real/half.jpg", HALF_A_JPEG, "unreadable"),
        ("unsorted/x.jpg", b"no picture", "no label"),
    ],
)
def test_what_cannot_be_used_is_listed(data: Path, tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (data / name).parent.mkdir(exist_ok=True)
    (data / name).write_bytes(content)
    report = merged(data, output=tmp_path / "out")
    assert len(report.records) == 2
    assert [(skipped.path, skipped.kind) for skipped in report.skipped] == [(f"data/{name}", kind)]
    with (tmp_path / "out" / "skipped.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == f"data/{name}"
    assert row["reason"].startswith(kind)


def test_running_it_again_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg", "c.jpg"])
    first = merged(tmp_path / "data", output=tmp_path / "out")
    before = tree(tmp_path / "out")
    again = merged(tmp_path / "data", output=tmp_path / "out")
    assert (first.unchanged, again.unchanged) == (False, True)
    assert tree(tmp_path / "out") == before
    assert again.records == first.records


def test_the_same_data_give_the_same_bytes_anywhere(tmp_path: Path) -> None:
    fill(tmp_path / "data", ["real/a.jpg", "real/b.jpg", "fake/c.jpg", "fake/d.jpg", "e.jpg"])
    merged(tmp_path / "data", output=tmp_path / "out")
    merged(tmp_path / "data", output=tmp_path / "new" / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "new" / "out")


def test_a_split_made_since_is_no_change(data: Path, tmp_path: Path) -> None:
    report = merged(data, output=tmp_path / "out")
    write_manifest(tmp_path / "out", [replace(record, split="train") for record in report.records])
    before = tree(tmp_path / "out")
    assert merged(data, output=tmp_path / "out").unchanged
    assert tree(tmp_path / "out") == before


def test_an_empty_folder_may_stand_there_already(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert len(merged(data, output=tmp_path / "out").records) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"}


@pytest.mark.parametrize("foreign", ["another merge", "a folder with a file", "a file"])
def test_nothing_is_written_over_something_else(data: Path, tmp_path: Path, foreign: str) -> None:
    output = tmp_path / "out"
    if foreign == "another merge":
        fill(tmp_path / "other", ["real/a.jpg", "fake/b.jpg"], 50)
        merged(tmp_path / "other", output=output)
    elif foreign == "a folder with a file":
        output.mkdir()
        (output / "thesis.txt").write_text("mine")
    else:
        output.write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(DatasetError, match="choose another folder"):
        merged(data, output=output)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "names",
    [[], ["real/a.jpg"], ["fake/a.jpg"], ["a.jpg", "b.jpg"], ["realistic/a.jpg", "faked/b.jpg"]],
    ids=["empty folder", "real alone", "fake alone", "no label", "other words"],
)
def test_without_both_labels_nothing_is_left_behind(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "data").mkdir()
    fill(tmp_path / "data", names)
    with pytest.raises(DatasetError, match=r"no (real|fake) pictures"):
        merged(tmp_path / "data", output=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("output", ["data", "data/out", "data/real/out"])
def test_an_output_inside_a_source_is_refused(data: Path, tmp_path: Path, output: str) -> None:
    before = tree(tmp_path)
    with pytest.raises(DatasetError, match="lies inside"):
        merged(data, output=tmp_path / output)
    assert tree(tmp_path) == before
