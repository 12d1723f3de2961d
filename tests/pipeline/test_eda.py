import csv
import io
import os
import re
import shutil
import zipfile
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from facetell.edge.errors import FacetellError
from facetell.edge.manifest import Record, read_manifest, write_manifest
from facetell.pipeline.advice import advise
from facetell.pipeline.eda import PAGE, PLOTS, TABLE, eda
from facetell.pipeline.merge import merge
from facetell.pipeline.page import GOOD, LOOK, MEND
from facetell.pipeline.sources import open_sources
from facetell.pipeline.survey import survey
from facetell.tools.cli import run as facetell

from ..pictures import encoded, pattern, record, save, tree

PICTURES = 6
BROKEN = "<i>$x_{\x1b[31m.jpg"


def raw(folder: Path, real: int = PICTURES, fake: int = PICTURES, below: str = "") -> Path:
    """Write a raw folder of so many patterns of each label, no two alike."""
    for number, (label, count) in enumerate({"real": real, "fake": fake}.items()):
        for seed in range(count):
            save(folder / below / label / f"{seed}.png", pattern(1000 * number + seed, 96))
    return folder


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
    assert sorted(said(raw(tmp_path / "raw"))) == sorted(GOOD_FOLDER)


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
        lambda folder: raw(folder, real=4 * PICTURES),
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
    folder = raw(tmp_path / "raw")
    change(folder)
    new = [words for words in said(folder) if words not in GOOD_FOLDER and not words.startswith("0")]
    assert [any(words.startswith(start) for start in wanted) for words in new] == [True] * len(wanted), new


def test_it_promises_what_merge_does(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", real=9)
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
    folder = raw(raw(tmp_path / "raw", below="train"), below="test")
    save(folder / "train" / "real" / "again.jpg", pattern(0, 96), quality=80)
    assert "2 1 set of near-duplicates torn apart by the splits." in said(folder)


def test_what_must_be_mended_comes_first(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw")
    (folder / "real" / "broken.jpg").write_bytes(b"no picture")
    assert [words[0] for words in said(folder)] == sorted((words[0] for words in said(folder)), reverse=True)


def test_light_that_tells_the_label_is_named(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", real=24, fake=0)
    for seed in range(24):
        save(folder / "fake" / f"{seed}.png", (pattern(5000 + seed, 96) * 0.4).astype(np.uint8))
    assert any("alone tell real from fake, of raw against raw: AUC 1.00" in words for words in said(folder))


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eda")
    data = raw(raw(folder / "raw", below="train"), real=3, fake=4, below="test")
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


def test_a_zip_says_what_the_folder_says(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in tree(folder).items():
            archive.writestr(name, content)
    (tmp_path / "raw.zip").write_bytes(packed.getvalue())
    assert said(tmp_path / "raw.zip") == said(folder)
    eda(tmp_path / "raw.zip", tmp_path / "report")
    assert (tmp_path / "report" / "samples.png").exists()


def test_a_merged_data_set_has_the_sources_and_splits_of_its_manifest(tmp_path: Path) -> None:
    folder = raw(tmp_path / "dataset")
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


@pytest.mark.parametrize("kept", ["real", "fake"])
def test_a_folder_of_one_label_gets_its_page(tmp_path: Path, kept: str) -> None:
    folder = raw(tmp_path / "raw", **{label: PICTURES * (label == kept) for label in ("real", "fake")})
    assert eda(folder, tmp_path / "report")[1][0].level == MEND
    assert (tmp_path / "report" / PAGE).exists()


def test_a_folder_without_labels_gets_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "raw" / "1.png", pattern(1))
    assert facetell(["eda", str(tmp_path / "raw"), "-o", str(tmp_path / "report")]) == 0
    assert "Put them below folders real/ and fake/" in capsys.readouterr().out
    assert set(tree(tmp_path / "report")) == {PAGE, TABLE}


def test_grey_deep_and_transparent_pictures_are_drawn(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw")
    grey = Image.fromarray(pattern(3)).convert("L")
    for name, image in {"grey": grey, "deep": grey.convert("I;16"), "clear": grey.convert("LA")}.items():
        (folder / "real" / f"{name}.png").write_bytes(encoded(image, "PNG"))
    assert not any("cannot be read" in finding.said for finding in eda(folder, tmp_path / "report")[1])


def test_excluded_pictures_are_left_out(tmp_path: Path) -> None:
    folder = raw(tmp_path / "dataset")
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
    folder = raw(tmp_path / "dataset")
    names = [name for name in tree(folder) if name.endswith(".png")]
    write_manifest(folder, [record(name, name.partition("/")[0]) for name in [*names, "real/odd.png"]])
    make(folder / "real" / "odd.png")
    (left,) = survey(folder).left_out
    assert (left.path, left.kind) == ("real/odd.png", "unreadable")
    assert reason in left.detail


def test_a_manifest_of_somebody_else_makes_no_merged_data_set(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw")
    (folder / "manifest.csv").write_text("id,colour\n1,red\n")
    assert sorted(said(folder)) == sorted(GOOD_FOLDER)


def test_a_second_time_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw")
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
    folder = raw(tmp_path / "raw", fake=0)
    change(folder)
    before = tree(tmp_path)
    looked: list[int] = []
    with pytest.raises(FacetellError, match=words):
        eda(folder, tmp_path / output, progress=lambda done, total: looked.append(done))
    assert tree(tmp_path) == before
    assert looked == []
