import csv
import os
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from facetell.edge.errors import FacetellError
from facetell.edge.manifest import Record, read_manifest, write_manifest
from facetell.pipeline.eda import PAGE, PLOTS, TABLE, eda
from facetell.pipeline.page import GOOD, LOOK, MEND
from facetell.pipeline.survey import survey
from facetell.tools.cli import run as facetell

from ..pictures import encoded, pattern, raw_patterns, record, save, tree

PICTURES = 6
BROKEN = "<i>$x_{\x1b[31m.jpg"


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eda")
    data = raw_patterns(raw_patterns(folder / "raw", below="train"), real=3, fake=4, below="test")
    (data / "train" / "real" / BROKEN).write_bytes(b"no picture")
    (data / "=1+1.png").write_bytes(b"no label")
    (data / os.fsdecode(b"\xff.png")).write_bytes(b"no label")
    save(data / "train" / "fake" / "again.jpg", pattern(1000, 96), quality=80)
    assert facetell(["eda", str(data), "-o", str(folder / "report")]) == 3
    return folder / "report"


def test_a_page_its_pictures_and_a_table_are_written(explored: Path) -> None:
    assert set(tree(explored)) == {PAGE, TABLE, *PLOTS} - {"sources.png"}
    for path in explored.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 100


def test_the_page_holds_all_it_shows(explored: Path) -> None:
    page = (explored / PAGE).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(list(explored.glob("*.png")))
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert re.findall(r"https?://", page) == []
    assert "<script" not in page


def test_a_hostile_name_is_text_in_the_page(explored: Path) -> None:
    page = (explored / PAGE).read_text(encoding="utf-8")
    assert "<i>" not in page
    assert "\x1b" not in page
    assert BROKEN.replace("\x1b", "\N{REPLACEMENT CHARACTER}") in unescape(page)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in page


def test_the_table_has_a_row_for_every_picture(explored: Path) -> None:
    with (explored / TABLE).open(newline="", encoding="utf-8") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == 2 * PICTURES + 3 + 4 + 1 + 3
    known = rows["train/fake/0.png"]
    assert (known["label"], known["split"], known["remark"]) == ("fake", "train", "same bytes")
    assert (known["width"], known["height"], known["format"]) == ("96", "96", "PNG")
    assert 50 < float(known["brightness"]) < 200
    assert rows["train/fake/again.jpg"]["remark"] == "near-duplicate"
    assert {"'=1+1.png", "?.png"} <= set(rows)
    assert rows[f"train/real/{BROKEN}"]["remark"] == "unreadable"


def test_a_merged_data_set_has_the_sources_and_splits_of_its_manifest(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "dataset")
    names = [path for path in tree(folder) if path.endswith(".png")]
    records: list[Record] = [
        record(name, name.partition("/")[0], source=f"$x_{number % 2}", stated_split=("train", "test")[number % 2])
        for number, name in enumerate(names)
    ]
    write_manifest(folder, records)
    found = survey(folder)
    assert found.sources == ["$x_0", "$x_1"]
    assert found.splits == ["train", "test"]
    assert [one.record.path for one in found.seen] == [known.path for known in read_manifest(folder)]
    eda(folder, tmp_path / "report")
    assert (tmp_path / "report" / "sources.png").exists()


def test_reserved_pictures_have_a_bar_of_their_own(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "crops")
    names = [path for path in tree(folder) if path.endswith(".png")]
    parts = ("train", "validation", "reserved")
    records = [
        replace(record(name, name.partition("/")[0]), split=parts[number % 3]) for number, name in enumerate(names)
    ]
    write_manifest(folder, records)
    found = survey(folder)
    assert found.splits == list(parts)
    assert [found.count("real", part) for part in parts] == [2, 2, 2]
    assert {finding.level for finding in eda(folder, tmp_path / "report")[1]} <= {GOOD, LOOK}
    assert (tmp_path / "report" / "splits.png").exists()


@pytest.mark.parametrize("kept", ["real", "fake"])
def test_a_folder_of_one_label_gets_its_page(tmp_path: Path, kept: str) -> None:
    folder = raw_patterns(tmp_path / "raw", **{label: PICTURES * (label == kept) for label in ("real", "fake")})
    assert eda(folder, tmp_path / "report")[1][0].level == MEND
    assert (tmp_path / "report" / PAGE).exists()


def test_a_folder_without_labels_gets_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "raw" / "1.png", pattern(1))
    assert facetell(["eda", str(tmp_path / "raw"), "-o", str(tmp_path / "report")]) == 0
    assert "Put them below folders real/ and fake/" in capsys.readouterr().out
    assert set(tree(tmp_path / "report")) == {PAGE, TABLE}


def test_grey_deep_and_transparent_pictures_are_drawn(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "raw")
    grey = Image.fromarray(pattern(3)).convert("L")
    for name, image in {"grey": grey, "deep": grey.convert("I;16"), "clear": grey.convert("LA")}.items():
        (folder / "real" / f"{name}.png").write_bytes(encoded(image, "PNG"))
    assert not any("cannot be read" in finding.said for finding in eda(folder, tmp_path / "report")[1])


def test_excluded_pictures_are_left_out(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "dataset")
    names = [name for name in tree(folder) if name.endswith(".png")]
    known = [record(name, name.partition("/")[0], stated_split="train") for name in names]
    write_manifest(folder, [replace(known[0], split="excluded"), *known[1:]])
    found = survey(folder)
    assert [left.path for left in found.left_out] == [known[0].path]
    assert len(found.seen) == len(names) - 1


NO_PICTURES = {
    # what stands where a manifest says that there is a picture -> the reason that is given
    "nothing": (lambda path: None, "no regular file"),
    "a pipe": (os.mkfifo, "no regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    "a folder": (Path.mkdir, "no regular file"),
    "nothing at all": (Path.touch, "not a picture"),
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_a_manifest_that_names_no_picture_stops_nothing(tmp_path: Path, name: str) -> None:
    make, reason = NO_PICTURES[name]
    folder = raw_patterns(tmp_path / "dataset")
    names = [name for name in tree(folder) if name.endswith(".png")]
    write_manifest(folder, [record(name, name.partition("/")[0]) for name in [*names, "real/odd.png"]])
    make(folder / "real" / "odd.png")
    (left,) = survey(folder).left_out
    assert (left.path, left.kind) == ("real/odd.png", "unreadable")
    assert reason in left.detail


def test_a_second_time_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    folder = raw_patterns(tmp_path / "raw")
    copy = shutil.copy(folder / "real" / "0.png", folder / "real" / "copy.png")
    eda(folder, tmp_path / "report")
    assert (tmp_path / "report" / "copies.png").exists()
    Path(copy).unlink()
    eda(folder, tmp_path / "report")
    assert not (tmp_path / "report" / "copies.png").exists()


REFUSALS = {
    # what is done -> where the page is to go, and the reason
    "no pictures": (lambda folder: shutil.rmtree(folder / "real"), "report", "holds no pictures"),
    "inside the data": (lambda folder: None, "raw/report", "lies inside"),
    "somebody's pictures": (
        lambda folder: save(folder.parent / "report" / "samples.png", pattern(1)),
        "report",
        "else",
    ),
    "a file": (lambda folder: (folder.parent / "report").touch(), "report", "else"),
    "below a file": (lambda folder: (folder.parent / "file").touch(), "file/report", "cannot write"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_done_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    change, output, words = REFUSALS[name]
    folder = raw_patterns(tmp_path / "raw", fake=0)
    change(folder)
    before = tree(tmp_path)
    looked: list[int] = []
    with pytest.raises(FacetellError, match=words):
        eda(folder, tmp_path / output, progress=lambda done, total: looked.append(done))
    assert tree(tmp_path) == before
    assert looked == []
