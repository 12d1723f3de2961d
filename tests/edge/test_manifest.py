"""manifest.csv: what is written is read again, and what is not a manifest is named with its line."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from facetell.edge.errors import DatasetError, SourceError
from facetell.edge.manifest import (
    Record,
    balanced_sample,
    deciding,
    read_manifest,
    select,
    split_sha256,
    without_sources,
    write_manifest,
    write_skipped,
)

from ..pictures import record

RECORD = Record("fake/a.png", "fake", "set", "person 1", "train", "ab" * 32, 256, 257, "test")
HEADER = "path,label,source,group,split,sha256,width,height,stated_split"


def write(folder: Path, *lines: str) -> None:
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        replace(RECORD, label="real", split="", stated_split="", group=""),
        replace(RECORD, split="excluded"),
        replace(RECORD, split="reserved", room_ratio=1.375),
        replace(RECORD, path="fake/Ünïcödé 顔.png", source="データ"),
        replace(RECORD, path='fake/comma, "quote"; semicolon.png'),
        replace(RECORD, group="=HYPERLINK()", source="'quoted'"),
        replace(RECORD, path="fake/line\nbreak.png"),
        replace(RECORD, path="fake/carriage\rreturn.png"),
        replace(RECORD, path="fake/..dots../a.png"),
        replace(RECORD, path=" leading and trailing "),
    ],
    ids=[
        "plain",
        "undecided",
        "excluded",
        "reserved",
        "unicode",
        "quotes",
        "formula",
        "newline",
        "return",
        "dots",
        "spaces",
    ],
)
def test_what_is_written_is_read(record: Record, tmp_path: Path) -> None:
    write_manifest(tmp_path, [record, RECORD])
    assert read_manifest(tmp_path) == [record, RECORD]


def test_an_empty_manifest_is_an_error(tmp_path: Path) -> None:
    write_manifest(tmp_path, [])
    with pytest.raises(DatasetError, match="lists no pictures"):
        read_manifest(tmp_path)


def test_other_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    write(
        tmp_path,
        "note,height,width,sha256,split,group,source,label,path,stated_split",
        f"mine,257,256,{RECORD.sha256},train,person 1,set,fake,fake/a.png,test",
    )
    assert read_manifest(tmp_path) == [RECORD]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.png,fake,set,,,,256,256,", None),
        ("a.png,fake,set,,,,wide,256,", "line 3: width, height and room_ratio must be numbers"),
        ("a.png,fake,set,,,,,256,", "line 3: width, height and room_ratio must be numbers"),
        ("a.png,fake,set", "line 3: width, height and room_ratio must be numbers"),
        ("a.png,fake,set,,,,256,256,,1.5", None),
        ("a.png,fake,set,,,,256,256,,wide", "line 3: width, height and room_ratio must be numbers"),
        ("a.png,fake,set,,,,256,256,,nan", "line 3: the room_ratio is nan, wanted 0 to 100"),
        ("a.png,fake,set,,,,256,256,,-1", r"line 3: the room_ratio is -1\.0, wanted 0 to 100"),
        ("a.png,fake,set,,holiday,,256,256,", "line 3: the split is 'holiday', wanted one of train, validation, test"),
        ("a.png,fake,set,,,,256,256,reserved", "line 3: the split is '', wanted one of"),
        ("a.png,FAKE,set,,,,256,256,", "line 3: the label is 'FAKE', wanted real or fake"),
        ("a.png,,set,,,,256,256,", "line 3: the label is ''"),
        ("/etc/passwd,fake,set,,,,256,256,", "line 3: the path '/etc/passwd' leaves the folder"),
        ("../a.png,fake,set,,,,256,256,", "leaves the folder"),
        ("fake/../../a.png,fake,set,,,,256,256,", "leaves the folder"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(row: str, reason: str | None, tmp_path: Path) -> None:
    write(tmp_path, f"{HEADER},room_ratio", "b.png,real,set,,,,256,256,", row)
    if reason is None:
        assert len(read_manifest(tmp_path)) == 2
    else:
        with pytest.raises(DatasetError, match=reason):
            read_manifest(tmp_path)


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "path,label", "a.png,fake")
    with pytest.raises(DatasetError, match="lacks the columns source, group, split"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "facetell merge"),
        (b"\xff\xfep\x00", "not a manifest|cannot be read"),
        (b"\x89PNG\r\n\x1a\n", "not a manifest"),
    ],
    ids=["missing", "utf-16", "a picture"],
)
def test_a_file_that_is_no_manifest_is_refused(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        read_manifest(tmp_path)


def test_a_manifest_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").mkdir()
    with pytest.raises(DatasetError, match="cannot be read"):
        read_manifest(tmp_path)


def test_writing_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(SourceError, match="cannot write"):
        write_manifest(tmp_path / "file.txt", [RECORD])


@pytest.mark.parametrize("path", ["a.jpg", "b, c.jpg", "not utf-8 \udce9.jpg"])
def test_skipped_files_are_listed_whatever_their_names(path: str, tmp_path: Path) -> None:
    write_skipped(tmp_path, [(path, "no face found")])
    lines = (tmp_path / "skipped.csv").read_bytes().splitlines()
    assert lines[0] == b"path,reason"
    assert len(lines) == 2
    assert lines[1].endswith(b",no face found")


# Splits


@pytest.mark.parametrize(
    ("labels", "missing"), [(("real", "fake"), None), (("real",), "fake"), (("fake",), "real"), ((), "real")]
)
def test_a_split_is_taken_only_with_both_labels(labels: tuple[str, ...], missing: str | None) -> None:
    wanted = [replace(RECORD, label=label) for label in labels]
    others = [replace(RECORD, label=label, split=split) for label in ("real", "fake") for split in ("test", "")]
    if missing is None:
        assert select([*others, *wanted], "train") == wanted
    else:
        with pytest.raises(DatasetError, match=f"the train split has no {missing} pictures"):
            select([*others, *wanted], "train")


DECIDING = {
    # labels of reserved and of validation pictures -> the split that decides, or the error
    "reserved pictures of both labels": (("real", "fake"), ("real", "fake"), "reserved"),
    "nothing else": (("real", "fake"), (), "reserved"),
    "none reserved": ((), ("real", "fake"), "validation"),
    "reserved ones of one label": (("real",), ("real", "fake"), "validation"),
    "too few of both": (("real",), ("fake",), "the validation split has no real pictures"),
}


@pytest.mark.parametrize(("reserved", "validation", "wanted"), DECIDING.values(), ids=DECIDING)
def test_reserved_pictures_decide_where_they_can(
    reserved: tuple[str, ...], validation: tuple[str, ...], wanted: str
) -> None:
    of_split = {
        "reserved": [replace(RECORD, label=label, split="reserved") for label in reserved],
        "validation": [replace(RECORD, label=label, split="validation") for label in validation],
        "train": [RECORD, replace(RECORD, label="real")],
    }
    records = [known for members in of_split.values() for known in members]
    if wanted in of_split:
        assert deciding(records) == of_split[wanted]
    else:
        with pytest.raises(DatasetError, match=wanted):
            deciding(records)


def test_left_out_sources_are_gone_whole() -> None:
    records = [replace(RECORD, source=source, label=label) for source in "ab" for label in ("real", "fake")]
    assert without_sources(records, ["a"]) == records[2:]
    assert without_sources(records, []) == records


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"sha256": "cd" * 32}, False),
        ({"label": "real"}, False),
        ({"split": "test"}, False),
        ({"path": "elsewhere.png"}, True),
        ({"width": 1}, True),
        ({}, True),
    ],
)
def test_the_hash_of_a_split_is_of_what_stands_where(change: dict[str, str], is_same: bool) -> None:
    other = replace(RECORD, sha256="ef" * 32)
    assert (split_sha256([RECORD, other]) == split_sha256([other, replace(RECORD, **change)])) == is_same


def test_a_sample_takes_as_many_of_each_source_and_label_as_there_are() -> None:
    sizes = {("a", "real"): 50, ("a", "fake"): 20, ("b", "real"): 3, ("b", "fake"): 20}
    records = [
        record(f"{source}{label}{number}", label, source=source)
        for (source, label), size in sizes.items()
        for number in range(size)
    ]
    chosen = balanced_sample(records, 40)
    assert Counter((known.source, known.label) for known in chosen) == {
        ("a", "real"): 13,
        ("a", "fake"): 13,
        ("b", "real"): 3,
        ("b", "fake"): 13,
    }
    assert len({known.path for known in chosen}) == len(chosen)
    assert chosen == balanced_sample(records, 40)
    assert chosen != balanced_sample(records, 40, seed=1)
    assert len(balanced_sample(records, 1000)) == len(records)
