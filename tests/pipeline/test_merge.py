import csv
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from facetell.edge.errors import DatasetError
from facetell.edge.manifest import read_manifest, write_manifest
from facetell.pipeline.merge import MergeReport, merge
from facetell.pipeline.sources import open_sources

from ..pictures import pattern, save, tree

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

ITS_OWN = "a group of its own"

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

HALF_A_JPEG = cv2.imencode(".jpg", pattern(99))[1].tobytes()[:2000]


def fill(root: Path, names: list[str], first_seed: int = 0) -> dict[str, bytes]:
    """Write a picture under each name, no two the same, and return their bytes."""
    for seed, name in enumerate(names, start=first_seed):
        save(root / name, pattern(seed, 48))
    return tree(root)


def zipped(root: Path) -> Path:
    """Pack a folder into the zip archive of its name."""
    target = root.parent / "packed" / f"{root.name}.zip"
    target.parent.mkdir()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in tree(root).items():
            archive.writestr(name, content)
    return target


def merged(*raw: Path, output: Path) -> MergeReport:
    return merge(open_sources(raw), output)


def by_content(output: Path) -> dict[bytes, tuple[str, str, str]]:
    """Return label, split and group of each merged picture by its bytes."""
    records = read_manifest(output)
    assert [r.stated_split for r in records] == [r.split for r in records]
    groups = {r.sha256: ITS_OWN if r.group == f"{r.source}/{r.sha256[:20]}" else r.group for r in records}
    return {(output / r.path).read_bytes(): (r.label, r.split, groups[r.sha256]) for r in records}


@pytest.mark.parametrize("pack", [Path, zipped], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", FOLDER_LAYOUTS.values(), ids=FOLDER_LAYOUTS)
def test_folders_say_label_and_split(tmp_path: Path, layout: dict[str, tuple[str, str]], pack) -> None:
    contents = fill(tmp_path / "data", list(layout))
    merged(pack(tmp_path / "data"), output=tmp_path / "out")
    found = {content: tags[:2] for content, tags in by_content(tmp_path / "out").items()}
    assert found == {contents[name]: tags for name, tags in layout.items()}


@pytest.mark.parametrize("pack", [Path, zipped], ids=["folder", "zip"])
@pytest.mark.parametrize(("table", "layout"), CSV_LAYOUTS.values(), ids=CSV_LAYOUTS)
def test_a_csv_says_label_split_and_group(tmp_path: Path, table: str, layout, pack) -> None:
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


def test_split_folders_passed_one_by_one_are_one_data_set(tmp_path: Path) -> None:
    fill(tmp_path / "mine" / "train", ["real/a.jpg", "fake/b.jpg"])
    fill(tmp_path / "mine" / "test", ["real/c.jpg", "fake/d.jpg"], 2)
    report = merged(tmp_path / "mine" / "train", tmp_path / "mine" / "test", output=tmp_path / "out")
    assert {(record.source, record.split) for record in report.records} == {("mine", "train"), ("mine", "test")}


def test_two_data_sets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    fill(tmp_path / "x" / "archive", ["real/a.jpg", "fake/b.jpg"])
    fill(tmp_path / "y" / "archive", ["real/c.jpg", "fake/d.jpg"], 2)
    report = merged(tmp_path / "x" / "archive", tmp_path / "y" / "archive", output=tmp_path / "out")
    assert {record.source for record in report.records} == {"x-archive", "y-archive"}


def test_even_where_their_parents_are_called_alike(tmp_path: Path) -> None:
    roots = [tmp_path / above / "A" / "faces" for above in "xyz"]
    for seed, root in enumerate(roots):
        fill(root, ["real/a.jpg", "fake/b.jpg"], 2 * seed)
    roots[2] = zipped(roots[2]).rename(tmp_path / "x" / "A" / "faces.zip")
    assert [source.name for source in open_sources(roots)] == ["A-faces", "A-faces-2", "A-faces-3"]
    fill(tmp_path / "A-faces-2", ["real/a.jpg"])
    assert len({source.name for source in open_sources([tmp_path / "A-faces-2", *roots])}) == 4


@pytest.mark.parametrize("pack", [Path, zipped], ids=["folder", "zip"])
def test_two_roots_called_real_and_fake_are_labels(tmp_path: Path, pack) -> None:
    contents = fill(tmp_path / "somewhere" / "real", ["a.jpg"]), fill(tmp_path / "elsewhere" / "Fake", ["a.jpg"], 1)
    merged(pack(tmp_path / "somewhere" / "real"), pack(tmp_path / "elsewhere" / "Fake"), output=tmp_path / "out")
    found = {content: tags[0] for content, tags in by_content(tmp_path / "out").items()}
    assert found == {contents[0]["a.jpg"]: "real", contents[1]["a.jpg"]: "fake"}


@pytest.mark.parametrize("above", ["test", "fake", "train/real", "Fake/Test"])
def test_folders_above_the_root_do_not_matter(tmp_path: Path, above: str) -> None:
    root = tmp_path / above / "data"
    contents = fill(root, ["real/a.jpg", "fake/b.jpg", "c.jpg"])
    report = merged(root, output=tmp_path / "out")
    found = {content: tags[:2] for content, tags in by_content(tmp_path / "out").items()}
    assert found == {contents["real/a.jpg"]: ("real", ""), contents["fake/b.jpg"]: ("fake", "")}
    assert report.skipped_by_kind() == {"no label": 1}


def test_a_relative_root_is_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "faces", ["real/a.jpg", "fake/b.jpg"])
    monkeypatch.chdir(tmp_path / "faces")
    report = merged(Path(), output=tmp_path / "out")
    assert {record.source for record in report.records} == {"faces"}


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


def test_the_same_bytes_come_in_once(tmp_path: Path) -> None:
    contents = fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    fill(tmp_path / "more", ["real/copy.jpg"])
    report = merged(tmp_path / "data", tmp_path / "more", output=tmp_path / "out")
    assert sorted(by_content(tmp_path / "out")) == sorted(contents.values())
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
def test_what_cannot_be_used_is_listed(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "data" / name).write_bytes(content)
    report = merged(tmp_path / "data", output=tmp_path / "out")
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


def test_a_split_made_since_is_no_change(tmp_path: Path) -> None:
    fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    report = merged(tmp_path / "data", output=tmp_path / "out")
    write_manifest(tmp_path / "out", [replace(record, split="train") for record in report.records])
    before = tree(tmp_path / "out")
    assert merged(tmp_path / "data", output=tmp_path / "out").unchanged
    assert tree(tmp_path / "out") == before


def test_an_empty_folder_may_stand_there_already(tmp_path: Path) -> None:
    fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    (tmp_path / "out").mkdir()
    assert len(merged(tmp_path / "data", output=tmp_path / "out").records) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"}


@pytest.mark.parametrize("foreign", ["another merge", "a folder with a file", "a file"])
def test_nothing_is_written_over_something_else(tmp_path: Path, foreign: str) -> None:
    output = tmp_path / "out"
    if foreign == "another merge":
        fill(tmp_path / "other", ["real/a.jpg", "fake/b.jpg"], 50)
        merged(tmp_path / "other", output=output)
    elif foreign == "a folder with a file":
        output.mkdir()
        (output / "thesis.txt").write_text("mine")
    else:
        output.write_text("mine")
    fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    before = tree(tmp_path)
    with pytest.raises(DatasetError, match="choose another folder"):
        merged(tmp_path / "data", output=output)
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
def test_an_output_inside_a_source_is_refused(tmp_path: Path, output: str) -> None:
    fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    before = tree(tmp_path)
    with pytest.raises(DatasetError, match="lies inside"):
        merged(tmp_path / "data", output=tmp_path / output)
    assert tree(tmp_path) == before


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    contents = fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    fill(tmp_path / "private", ["real/secret.jpg"], 9)
    (tmp_path / "data" / "real" / "link.jpg").symlink_to(tmp_path / "private" / "real" / "secret.jpg")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "private")
    merged(tmp_path / "data", output=tmp_path / "out")
    assert sorted(by_content(tmp_path / "out")) == sorted(contents.values())
