"""Files are there whole or not at all, and no folder is written over another."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from facetell.edge.errors import DatasetError, SourceError
from facetell.edge.files import claim_folder, new_folder, replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# replacing


@pytest.mark.parametrize("before", [None, "old"], ids=["new", "over an old one"])
def test_a_file_appears_when_the_block_ends(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    if before:
        path.write_text(before)
    with replacing(path) as partial:
        partial.write_text("half")
        assert (path.read_text() if path.exists() else None) == before
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("before", [None, "old"], ids=["new", "over an old one"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SourceError, SystemExit])
def test_nothing_is_left_when_the_block_fails(error: type[BaseException], before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    if before:
        path.write_text(before)

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert (path.read_text() if path.exists() else None) == before
    assert names(tmp_path) == (["out.csv"] if before else [])


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "out.txt", "Ünïcödé\n")
    assert (tmp_path / "a" / "b" / "out.txt").read_bytes() == "Ünïcödé\n".encode()


@pytest.mark.parametrize(
    "path", ["file.txt/out.csv", "file.txt/below/out.csv", "folder", "a" * 300, "a" * 300 + "/out.csv"]
)
def test_a_place_that_cannot_be_written_is_named(path: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match=f"cannot write .*{path[-8:]}.*choose another place"):
        write_text(tmp_path / path, "text")
    assert names(tmp_path) == ["file.txt", "folder"]
    assert (tmp_path / "file.txt").read_text() == "mine"


@pytest.mark.parametrize("make", [replacing, new_folder])
def test_folders_made_on_the_way_go_when_the_block_fails(make, tmp_path: Path) -> None:
    def fail() -> None:
        with make(tmp_path / "new" / "and" / "below"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == []


# new_folder


@pytest.mark.parametrize("how", ["new", "empty", "a link to an empty one", "where one stands"])
def test_a_folder_appears_when_the_block_ends(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "above" / "report"
    if how != "new":
        path.mkdir(parents=True)
    if how == "a link to an empty one":
        (tmp_path / "link").symlink_to(path)
    if how == "where one stands":
        monkeypatch.chdir(path)
    given = {"a link to an empty one": tmp_path / "link", "where one stands": Path()}.get(how, path)
    with new_folder(given) as partial:
        (partial / "below").mkdir()
        (partial / "below" / "new.txt").write_text("new")
        assert not path.exists() or names(path) == []
    assert names(given) == names(path) == ["below"]
    assert names(path.parent) == ["report"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SourceError, SystemExit])
def test_an_empty_folder_stays_empty_when_the_block_fails(error: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()

    def fail() -> None:
        with new_folder(tmp_path / "report") as partial:
            (partial / "new.txt").write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path / "report") == []
    assert names(tmp_path) == ["report"]


def test_what_came_meanwhile_is_left_alone(tmp_path: Path) -> None:
    def work() -> None:
        with new_folder(tmp_path / "report") as partial:
            (partial / "new.txt").write_text("new")
            write_text(tmp_path / "report" / "thesis.txt", "mine")

    with pytest.raises(SourceError, match="not empty any more"):
        work()
    assert names(tmp_path) == ["report"]
    assert names(tmp_path / "report") == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(SourceError, match=r"cannot write .*report"), new_folder(tmp_path / "file.txt" / "report"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "out.csv") as partial:
            partial.symlink_to("/dev/full")
            partial.write_text("x")

    with pytest.raises(SourceError, match=os.strerror(28)):
        write()
    assert names(tmp_path) == []


# claim_folder


def claim(folder: Path) -> None:
    claim_folder(folder, "crop.json", {"settings": {"size": 1, "seed": 0}, "pictures": "abc"}, beside=("input",))


@pytest.mark.parametrize("exists", [False, True], ids=["new", "empty"])
def test_a_folder_is_claimed_and_known_again(exists: bool, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
    claim(folder)
    (folder / "result.txt").write_text("work")
    claim(folder)
    assert names(folder) == ["crop.json", "result.txt"]
    assert json.loads((folder / "crop.json").read_text())["settings"] == {"size": 1, "seed": 0}


def test_what_may_stand_beside_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    claim(tmp_path)
    assert names(tmp_path) == ["crop.json", "input"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("photo.jpg", b"mine", "holds something else"),
        (".hidden", b"mine", "holds something else"),
        ("crop.json", b'{"settings": {"size": 2, "seed": 0}, "pictures": "abc"}', r"\(settings size was 2, is 1\)"),
        ("crop.json", b'{"settings": 3}', "settings was 3, is None"),
        ("crop.json", b"", "is damaged"),
        ("crop.json", b"\xff\xfe", "is damaged"),
    ],
    ids=["another file", "a hidden file", "another setting", "something else", "an empty marker", "a binary marker"],
)
def test_a_folder_of_something_else_is_left_alone(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        claim(tmp_path)
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("path", ["file.txt", "file.txt/below"])
def test_a_file_is_no_folder(path: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not a folder that can be used"):
        claim(tmp_path / path)
    assert (tmp_path / "file.txt").read_text() == "mine"
