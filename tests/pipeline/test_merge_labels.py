"""What folders and csv files say of a picture: its label, its split and its group."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ..pictures import fill, pattern, save
from .merges import ITS_OWN, by_content, merged

FOLDER_LAYOUTS = {
    # the files, each with what it must become: label, split
    "training_real, training_fake": {
        "training_real/a.jpg": ("real", ""),
        "training_fake/b.jpg": ("fake", ""),
    },
    "Kaggle's real_and_fake_face_detection": {
        "real_and_fake_face_detection/real_and_fake_face/training_real/a.jpg": ("real", ""),
        "real_and_fake_face_detection/real_and_fake_face/training_fake/b.jpg": ("fake", ""),
    },
    "real, fake": {"real/a.jpg": ("real", ""), "fake/b.png": ("fake", "")},
    "Real, Fake": {"Real/a.JPG": ("real", ""), "Fake/b.jpeg": ("fake", "")},
    "deeper below the label": {"real/persons/1/a.jpg": ("real", ""), "fake/persons/1/a.jpg": ("fake", "")},
    "the nearest folder decides": {"fake/real/a.jpg": ("real", ""), "real/fake/b.jpg": ("fake", "")},
    "train, valid, test": {
        "train/real/a.jpg": ("real", "train"),
        "train/fake/b.jpg": ("fake", "train"),
        "valid/real/c.jpg": ("real", "validation"),
        "valid/fake/d.jpg": ("fake", "validation"),
        "test/real/e.jpg": ("real", "test"),
        "test/fake/f.jpg": ("fake", "test"),
    },
    "Train, Validation, Test": {
        "Dataset/Train/Real/a.jpg": ("real", "train"),
        "Dataset/Validation/Fake/b.jpg": ("fake", "validation"),
        "Dataset/Test/Real/c.jpg": ("real", "test"),
        "Dataset/Test/Fake/d.jpg": ("fake", "test"),
    },
    "label above split": {"real/train/a.jpg": ("real", "train"), "fake/val/b.jpg": ("fake", "validation")},
}

CSV_LAYOUTS = {
    # the csv, and each file with what it must become: label, split, group
    "file, label, source_video, split": (
        "file,label,source_video,split\n"
        "frames/a.jpg,real,video1.mp4,train\n"
        "frames/b.jpg,fake,video1.mp4,train\n"
        "frames/c.jpg,fake,video2.mp4,test\n",
        {
            "frames/a.jpg": ("real", "train", "data/video1"),
            "frames/b.jpg": ("fake", "train", "data/video1"),
            "frames/c.jpg": ("fake", "test", "data/video2"),
        },
    ),
    "videoname, label, original": (
        "videoname,original_width,original_height,label,original\n"
        "aaa.mp4,129,129,FAKE,ccc.mp4\n"
        "bbb.mp4,129,129,FAKE,ccc.mp4\n"
        "ccc.mp4,129,129,REAL,\n",
        {
            "faces_224/aaa.jpg": ("fake", "", "data/ccc"),
            "faces_224/bbb.jpg": ("fake", "", "data/ccc"),
            "faces_224/ccc.jpg": ("real", "", "data/ccc"),
        },
    ),
    "no group: each file its own, whatever it is called": (
        "path,label,split\nreal/0000.jpg,real,train\nfake/0000.jpg,fake,test\n",
        {"real/0000.jpg": ("real", "train", ITS_OWN), "fake/0000.jpg": ("fake", "test", ITS_OWN)},
    ),
    "no split: the folder's": (
        "path,label\nreal/a.jpg,real\nfake/b.jpg,fake\n",
        {"train/real/a.jpg": ("real", "train", ITS_OWN), "test/fake/b.jpg": ("fake", "test", ITS_OWN)},
    ),
    "a group that names the original": (
        "file,label,original\nreal/0.jpg,real,\nfake/0s.jpg,fake,real/0.jpg\nfake/1s.jpg,fake,1.jpg\nreal/2.jpg,real,\n",
        {
            "real/0.jpg": ("real", "", "data/0"),
            "fake/0s.jpg": ("fake", "", "data/0"),
            "fake/1s.jpg": ("fake", "", "data/1"),
            "real/2.jpg": ("real", "", ITS_OWN),
        },
    ),
    "the csv's split before the folder's": (
        "file,label,split\ntest/real/a.jpg,real,train\ntest/fake/b.jpg,fake,validation\n",
        {"test/real/a.jpg": ("real", "train", ITS_OWN), "test/fake/b.jpg": ("fake", "validation", ITS_OWN)},
    ),
    "groups with dots and slashes": (
        "file,label,person\na.jpg,real,J.Smith\nb.jpg,fake,J.Doe\nc.jpg,real,1.0\nd.jpg,fake,p1/c2\ne.jpg,real,p2/c2.MP4\n",
        {
            "a.jpg": ("real", "", "data/J.Smith"),
            "b.jpg": ("fake", "", "data/J.Doe"),
            "c.jpg": ("real", "", "data/1.0"),
            "d.jpg": ("fake", "", "data/p1/c2"),
            "e.jpg": ("real", "", "data/p2/c2"),
        },
    ),
}


@pytest.mark.parametrize("layout", FOLDER_LAYOUTS.values(), ids=FOLDER_LAYOUTS)
def test_folders_say_label_and_split(
    tmp_path: Path, layout: dict[str, tuple[str, str]], pack: Callable[[Path], Path]
) -> None:
    contents = fill(tmp_path / "data", list(layout))
    merged(pack(tmp_path / "data"), output=tmp_path / "out")
    found = {content: tags[:2] for content, tags in by_content(tmp_path / "out").items()}
    assert found == {contents[name]: tags for name, tags in layout.items()}


@pytest.mark.parametrize(("table", "layout"), CSV_LAYOUTS.values(), ids=CSV_LAYOUTS)
def test_a_csv_says_label_split_and_group(
    tmp_path: Path, table: str, layout: dict[str, tuple[str, str, str]], pack: Callable[[Path], Path]
) -> None:
    contents = fill(tmp_path / "data", list(layout))
    (tmp_path / "data" / "metadata.csv").write_text(table)
    merged(pack(tmp_path / "data"), output=tmp_path / "out")
    assert by_content(tmp_path / "out") == {contents[name]: tags for name, tags in layout.items()}


def test_rows_of_files_that_are_not_there_say_nothing_of_others(tmp_path: Path) -> None:
    contents = fill(tmp_path / "data", ["real/a.png", "fake/b.jpg"])
    (tmp_path / "data" / "metadata.csv").write_text("file,label\nfake/a.jpg,fake\ngone/c.jpg,real\n")
    merged(tmp_path / "data", output=tmp_path / "out")
    found = {content: tags[0] for content, tags in by_content(tmp_path / "out").items()}
    assert found == {contents["real/a.png"]: "real", contents["fake/b.jpg"]: "fake"}


@pytest.mark.parametrize(
    ("files", "tables", "detail"),
    [
        (["real/x.jpg"], {"one.csv": ["real/x.jpg,fake"]}, "its folder says real, one.csv says fake"),
        (["x.jpg"], {"one.csv": ["x.jpg,real", "x.jpg,fake"]}, "one.csv says real, one.csv says fake"),
        (["x.jpg"], {"one.csv": ["x.jpg,real"], "two.csv": ["x.jpg,fake"]}, "one.csv says real, two.csv says fake"),
        (["real/x.jpg", "fake/y.jpg"], {"one.csv": ["real/x.jpg,fake"]}, "its folder says real, one.csv says fake"),
        (["fake/x.jpg", "real/y.jpg"], {}, "data/real/y.jpg is real"),
    ],
    ids=["folder and csv", "two rows", "two csvs", "and a copy of it", "two folders"],
)
def test_a_picture_of_both_labels_is_left_out_and_so_are_its_copies(
    files: list[str], tables: dict[str, list[str]], detail: str, tmp_path: Path
) -> None:
    contents = fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    for name in files:
        save(tmp_path / "data" / name, pattern(7, 48))
    for name, rows in tables.items():
        (tmp_path / "data" / name).write_text("\n".join(["file,label", *rows]))
    report = merged(tmp_path / "data", output=tmp_path / "out")
    assert set(by_content(tmp_path / "out")) == {contents["real/a.jpg"], contents["fake/b.jpg"]}
    (left_out,) = [left for left in report.skipped if left.kind == "both labels"]
    assert left_out.detail == detail
    skipped = (tmp_path / "out" / "skipped.csv").read_text()
    assert all(f"data/{name}" in skipped for name in files)


def test_a_copy_that_states_a_split_states_it_for_all(tmp_path: Path) -> None:
    fill(tmp_path / "one", ["real/a.jpg", "fake/b.jpg"])
    fill(tmp_path / "two", ["test/real/a.jpg", "test/fake/b.jpg"])
    merged(tmp_path / "one", tmp_path / "two", output=tmp_path / "out")
    assert [tags[1] for tags in by_content(tmp_path / "out").values()] == ["test", "test"]


def test_all_groups_that_are_stated_are_one(tmp_path: Path) -> None:
    fill(tmp_path / "data", [f"{name}.jpg" for name in "abcd"])
    (tmp_path / "data" / "one.csv").write_text(
        "file,label,person\na.jpg,real,P1\na.jpg,real,P2\nb.jpg,real,P2\nc.jpg,fake,P1\nd.jpg,fake,P3\n"
    )
    (tmp_path / "data" / "two.csv").write_text("file,label,video\na.jpg,real,\nd.jpg,fake,v1\n")
    merged(tmp_path / "data", output=tmp_path / "out")
    groups = Counter(tags[2] for tags in by_content(tmp_path / "out").values())
    assert sorted(groups.values()) == [1, 3]
