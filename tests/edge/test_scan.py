"""Which files a scan is of."""

import os
import subprocess
from pathlib import Path

import pytest

from facetell.edge.errors import SourceError
from facetell.edge.scan import expand_paths


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("files", "named", "found"),
    [
        (["b.jpg", "a.png", "c.webp"], ["."], ["a.png", "b.jpg", "c.webp"]),
        (["A.JPG", "b.JpEg"], ["."], ["A.JPG", "b.JpEg"]),
        (["a.txt", "b.mp4", "jpg", "c.jpg.part", "d.jpg"], ["."], ["b.mp4", "d.jpg"]),
        (["a.HEIC", "b.MOV"], ["."], ["a.HEIC", "b.MOV"]),
        (["x/b.jpg", "x/y/c.jpg", "a.jpg"], ["."], ["a.jpg", "x/b.jpg", "x/y/c.jpg"]),
        (["a.txt", "b"], ["a.txt", "b"], ["a.txt", "b"]),
        (["b.jpg", "a.jpg"], ["b.jpg", "a.jpg"], ["b.jpg", "a.jpg"]),
        (["x/a.jpg", "b.jpg"], ["x", "b.jpg"], ["x/a.jpg", "b.jpg"]),
        (["folder.jpg/a.png"], ["."], ["folder.jpg/a.png"]),
        (["a.txt"], ["."], []),
    ],
)
def test_which_files_are_taken(files: list[str], named: list[str], found: list[str], tmp_path: Path) -> None:
    touch(tmp_path, *files)
    taken = expand_paths(tmp_path / name for name in named)
    assert [path.relative_to(tmp_path).as_posix() for path in taken] == found


def test_links_are_followed_to_files_not_to_folders(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg", "pictures/b.jpg")
    (tmp_path / "pictures" / "link.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    (tmp_path / "pictures" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "pictures" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "pictures" / "round").symlink_to(tmp_path / "pictures")
    assert [path.name for path in expand_paths([tmp_path / "pictures"])] == ["b.jpg", "gone.jpg", "link.jpg"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("?.png", ["a.png"]),
        ("*", ["a.jpg", "a.png", "b.jpg", "x/c.jpg", "x/y/d.jpg"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "x/c.jpg", "x/y/d.jpg"]),
        ("x/*/d.*", ["x/y/d.jpg"]),
        ("[ab].jpg", ["a.jpg", "b.jpg"]),
        ("**", ["a.jpg", "a.png", "b.jpg", "x/c.jpg", "x/y/d.jpg"]),
        ("x*", ["x/c.jpg", "x/y/d.jpg"]),
    ],
)
def test_patterns(pattern: str, found: list[str], tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "a.png", "x/c.jpg", "x/y/d.jpg")
    assert [path.relative_to(tmp_path).as_posix() for path in expand_paths([tmp_path / pattern])] == found


def test_patterns_do_not_go_behind_links(tmp_path: Path) -> None:
    touch(tmp_path, "g/a.jpg")
    (tmp_path / "g" / "self").symlink_to(tmp_path / "g")
    assert list(expand_paths([tmp_path / "g" / "**" / "*.jpg"])) == [tmp_path / "g" / "a.jpg"]
    with pytest.raises(SourceError, match="matches nothing as a pattern"):
        expand_paths([tmp_path / "g" / "*.png"])


@pytest.mark.parametrize("follow_links", [False, True])
def test_links_that_go_round_end(follow_links: bool, tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "x.jpg").touch()
    for number in range(8):  # 8 ways on, 40 deep, were a ** to follow them
        (inner / f"link{number}").symlink_to(tmp_path / "a")
    found = list(expand_paths([tmp_path / "**" / "*.jpg"], follow_links=follow_links))
    assert found == [inner / "x.jpg"]


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"pattern|does not exist"):
        expand_paths([tmp_path / "a**b"])


def test_a_file_that_is_called_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path, "[a].jpg", "a.jpg")
    assert list(expand_paths([tmp_path / "[a].jpg"])) == [tmp_path / "[a].jpg"]


def test_linked_folders_are_entered_once_where_asked(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg", "pictures/b.jpg")
    (tmp_path / "pictures" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "pictures" / "again").symlink_to(tmp_path / "real")
    (tmp_path / "pictures" / "round").symlink_to(tmp_path / "pictures")
    found = expand_paths([tmp_path / "pictures"], follow_links=True)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["pictures/again/a.jpg", "pictures/b.jpg"]


def test_folders_may_be_nested_deeper_than_python(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)  # a whole path may not be longer than 4,096 bytes
    try:
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        Path("deep.jpg").touch()
        os.chdir(tmp_path)
        Path("zz.jpg").touch()
        found = list(expand_paths([Path()]))
        assert [path.name for path in found] == ["deep.jpg", "zz.jpg"]
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # shutil goes only as deep as Python


def test_what_is_named_twice_comes_once(tmp_path: Path) -> None:
    touch(tmp_path, "d/a.jpg", "d/b.jpg")
    named = [tmp_path / "d", tmp_path / "d" / "a.jpg", tmp_path / "d" / ".." / "d" / "a.jpg", tmp_path / "d" / "*.jpg"]
    assert [path.name for path in expand_paths(named)] == ["a.jpg", "b.jpg"]


def test_a_path_that_cannot_be_one_is_passed_on(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    listed = [tmp_path / "a.jpg", tmp_path / ("x" * 300), tmp_path / "a.jpg" / "b.jpg"]
    assert list(expand_paths([], listed)) == listed


def test_a_missing_path_is_refused_before_anything_is_scanned(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(SourceError, match=r"b\.jpg does not exist"):
        expand_paths([tmp_path / "a.jpg", tmp_path / "b.jpg"])


def test_a_folder_that_can_be_listed_but_not_entered_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "a.jpg").touch()
    (tmp_path / "locked").chmod(0o444)
    (tmp_path / "z.jpg").touch()
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    superuser = os.geteuid() == 0  # may enter everything
    if superuser:
        os.seteuid(65534)
    try:
        found = list(expand_paths([Path()]))
    finally:
        if superuser:
            os.seteuid(0)
        (tmp_path / "locked").chmod(0o755)
    assert found == [Path("locked/a.jpg"), Path("z.jpg")]
