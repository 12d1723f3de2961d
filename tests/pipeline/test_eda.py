import csv
import io
import re
import shutil
import zipfile
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from facetell.edge.errors import DatasetError
from facetell.edge.manifest import Record, read_manifest, write_manifest
from facetell.pipeline.advice import advise
from facetell.pipeline.eda import PAGE, PLOTS, TABLE, eda
from facetell.pipeline.page import GOOD, LOOK, MEND
from facetell.pipeline.survey import survey
from facetell.tools.cli import run as facetell

from ..pictures import encoded, pattern, record, save, tree

PICTURES = 6


def raw(folder: Path, real: int = PICTURES, fake: int = PICTURES, below: str = "") -> Path:
    """Write a raw folder of so many patterns of each label, no two alike."""
    for number, (label, count) in enumerate({"real": real, "fake": fake}.items()):
        for seed in range(count):
            save(folder / below / label / f"{seed}.png", pattern(1000 * number + seed, 96))
    return folder


def findings(folder: Path) -> list[tuple[str, str]]:
    return [(finding.level, f"{finding.said} {finding.advice}") for finding in advise(survey(folder))]


def in_both_splits(folder: Path) -> None:
    shutil.copytree(folder, folder / "test")
    for label in ("real", "fake"):
        shutil.move(folder / label, folder / "train" / label)


def other_format(folder: Path) -> None:
    for path in (folder / "fake").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()


def nearly_alike(folder: Path) -> None:
    save(folder / "real" / "again.jpg", pattern(0, 96), quality=80)


FAULTS = {
    # what is done to a good folder -> the level and the words of what is said of it
    "a picture that nothing calls real or fake": (
        lambda folder: save(folder / "loose.png", pattern(5)),
        (MEND, "Nothing calls 1 picture real or fake; loose.png"),
    ),
    "no fakes": (lambda folder: shutil.rmtree(folder / "fake"), (MEND, "There are no fake pictures.")),
    "both labels by csv": (
        lambda folder: (folder / "labels.csv").write_text("file,label\nreal/0.png,fake\n"),
        (MEND, "Called both real and fake: 1 picture; real/0.png"),
    ),
    "no picture": (
        lambda folder: (folder / "real" / "broken.jpg").write_bytes(b"no picture"),
        (MEND, "1 picture cannot be read; real/broken.jpg"),
    ),
    "a copy": (
        lambda folder: shutil.copy(folder / "real" / "0.png", folder / "real" / "copy.png"),
        (LOOK, "1 copy of other pictures, byte by byte"),
    ),
    "a copy of the other label": (
        lambda folder: shutil.copy(folder / "real" / "0.png", folder / "fake" / "copy.png"),
        (MEND, "The same bytes are once real and once fake: 1 picture."),
    ),
    "a copy in another split": (
        in_both_splits,
        (MEND, f"stand in two splits: {2 * PICTURES} pictures."),
    ),
    "a split of one label": (
        lambda folder: shutil.move(folder / "fake", folder / "valid" / "fake"),
        (MEND, "The validation split has no real pictures."),
    ),
    "no test": (
        lambda folder: [shutil.move(folder / label, folder / "train" / label) for label in ("real", "fake")],
        (LOOK, "The splits are train; there is no test."),
    ),
    "saved again": (nearly_alike, (LOOK, "1 set of near-duplicates of one label")),
    "four times as many": (lambda folder: raw(folder, real=4 * PICTURES), (LOOK, "4.0 times as many real pictures")),
    "another format": (other_format, (MEND, "The file format tells the label: real is mostly PNG, fake JPEG.")),
    "small ones": (
        lambda folder: save(folder / "real" / "small.png", pattern(77, 40)),
        (LOOK, "1 picture with a side of fewer than 64 pixels"),
    ),
    "a film": (lambda folder: (folder / "film.mp4").write_bytes(b"film"), (LOOK, "1 video here")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_said_and_nothing_else(tmp_path: Path, name: str) -> None:
    change, (level, words) = FAULTS[name]
    folder = raw(tmp_path / "raw")
    before = findings(folder)
    change(folder)
    new = [finding for finding in findings(folder) if finding not in before]
    assert [found for found, said in new if words in said] == [level]
    assert {found for found, _ in new} <= {level, LOOK, GOOD}


def test_a_good_folder_has_nothing_to_mend(tmp_path: Path) -> None:
    found = findings(raw(tmp_path / "raw"))
    assert [level for level, _ in found if level == MEND] == []
    assert sum(level == GOOD for level, _ in found) >= 4


def test_what_must_be_mended_comes_first(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw")
    (folder / "real" / "broken.jpg").write_bytes(b"no picture")
    levels = [level for level, _ in findings(folder)]
    assert levels == sorted(levels, key=(MEND, LOOK, GOOD).index)


def test_light_that_tells_the_label_is_named(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", real=24, fake=0)
    for seed in range(24):
        save(folder / "fake" / f"{seed}.png", (pattern(5000 + seed, 96) * 0.4).astype(np.uint8))
    assert any("tell the real pictures of raw from the fakes of raw" in said for _, said in findings(folder))


def test_near_duplicates_torn_between_splits_must_be_mended(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", below="train")
    save(raw(folder, below="test") / "test" / "real" / "again.jpg", pattern(0, 96), quality=80)
    shutil.rmtree(folder / "test" / "fake")
    assert any("torn apart by the splits" in said for level, said in findings(folder) if level == MEND)


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eda")
    data = raw(raw(folder / "raw", below="train"), real=3, fake=4, below="test")
    (data / "train" / "real" / "<b>broken\x1b[31m.jpg").write_bytes(b"no picture")
    save(data / "train" / "fake" / "again.jpg", pattern(1000, 96), quality=80)
    assert facetell(["eda", str(data), "-o", str(folder / "report")]) == 0
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
    assert "<b>broken" not in page
    assert "\x1b" not in page
    assert "<b>broken\N{REPLACEMENT CHARACTER}[31m.jpg" in unescape(page)


def test_the_table_has_a_row_for_every_picture(explored: Path) -> None:
    with (explored / TABLE).open(newline="", encoding="utf-8") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == 2 * PICTURES + 3 + 4 + 1 + 1
    known = rows["train/fake/0.png"]
    assert (known["label"], known["split"], known["remark"]) == ("fake", "train", "same bytes")
    assert (known["width"], known["height"], known["format"]) == ("96", "96", "PNG")
    assert 50 < float(known["brightness"]) < 200
    assert rows["train/fake/again.jpg"]["remark"] == "near-duplicate"
    assert rows["train/real/<b>broken\x1b[31m.jpg"]["remark"] == "unreadable"


def test_a_zip_says_what_the_folder_says(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in tree(folder).items():
            archive.writestr(name, content)
    (tmp_path / "raw.zip").write_bytes(packed.getvalue())
    assert findings(tmp_path / "raw.zip") == findings(folder)
    eda(tmp_path / "raw.zip", tmp_path / "report")
    assert (tmp_path / "report" / "samples.png").exists()


def test_a_merged_data_set_has_the_sources_and_splits_of_its_manifest(tmp_path: Path) -> None:
    folder = raw(tmp_path / "dataset")
    names = [path for path in tree(folder) if path.endswith(".png")]
    records: list[Record] = [
        record(name, name.partition("/")[0], source=f"set {number % 2}", stated_split=("train", "test")[number % 2])
        for number, name in enumerate(names)
    ]
    write_manifest(folder, records)
    found = survey(folder)
    assert found.sources == ["set 0", "set 1"]
    assert found.splits == ["train", "test"]
    assert [one.record.path for one in found.seen] == [known.path for known in read_manifest(folder)]
    eda(folder, tmp_path / "report")
    assert (tmp_path / "report" / "sources.png").exists()


@pytest.mark.parametrize("kept", ["real", "fake"])
def test_a_folder_of_one_label_gets_its_page(tmp_path: Path, kept: str) -> None:
    folder = raw(tmp_path / "raw", **{label: PICTURES * (label == kept) for label in ("real", "fake")})
    assert eda(folder, tmp_path / "report")[0].level == MEND
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
    assert not any("cannot be read" in finding.said for finding in eda(folder, tmp_path / "report"))


REFUSALS = {
    "no pictures": (lambda folder: shutil.rmtree(folder / "real"), "report", "holds no pictures"),
    "inside the data": (lambda folder: None, "raw/report", "lies inside"),
    "something else": (lambda folder: save(folder.parent / "report" / "mine.png", pattern(1)), "report", "else"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_done_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    change, output, words = REFUSALS[name]
    folder = raw(tmp_path / "raw", fake=0)
    change(folder)
    before = tree(tmp_path)
    with pytest.raises(DatasetError, match=words):
        eda(folder, tmp_path / output)
    assert tree(tmp_path) == before
