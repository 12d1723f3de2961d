"""Copies of the pictures of a scan, in a folder for each verdict."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from facetell.edge.errors import SourceError
from facetell.edge.results import FileResult
from facetell.edge.sorting import sort_copies
from facetell.tools.cli import run


def result(path: Path, verdict: str) -> FileResult:
    return FileResult(str(path), "error" if verdict == "error" else "ok", verdict)


def below(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def written(folder: Path, **contents: str) -> list[Path]:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / f"{name}.jpg").write_text(content)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("verdict", ["real", "fake", "uncertain", "no_face", "error"])
def test_what_has_a_face_is_copied_by_verdict(verdict: str, tmp_path: Path) -> None:
    (path,) = written(tmp_path / "in", a="one")
    assert list(sort_copies([result(path, verdict)], tmp_path / "out")) == [result(path, verdict)]
    assert below(tmp_path / "out") == ({f"{verdict}/a.jpg": "one"} if verdict in ("real", "fake", "uncertain") else {})
    assert path.read_text() == "one"


def test_names_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("\N{PILE OF POO}" * 62 + "x.jpg")  # 253 bytes, of 255
    path.write_text("one")
    list(sort_copies([result(path, "real")], tmp_path / "out"))
    assert (tmp_path / "out" / "real" / path.name).read_text() == "one"


def test_pictures_are_not_looked_for_among_their_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    written(tmp_path / "pictures", a="one")
    monkeypatch.chdir(tmp_path)
    for named in ("pictures", "pictures/*", "pic*"):
        assert run(["scan", named, "--copy-to", "pictures/sorted"]) == 2, named
        assert "is where pictures are looked for" in capsys.readouterr().err


def test_two_of_a_name_are_both_kept_and_one_picture_is_kept_once(tmp_path: Path) -> None:
    (first,), (second,), (again,) = (
        written(tmp_path / folder, a=text) for folder, text in [("x", "one"), ("y", "two"), ("z", "one")]
    )
    for _ in range(2):  # as when a scan is gone on with
        list(sort_copies([result(path, "fake") for path in (first, second, again)], tmp_path / "out"))
    assert below(tmp_path / "out") == {"fake/a.jpg": "one", "fake/a-2.jpg": "two"}


def test_a_copy_that_cannot_be_made_stops_the_scan_before_its_row(tmp_path: Path) -> None:
    (path,) = written(tmp_path / "in", a="one")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SourceError, match="cannot write"):
        list(sort_copies([result(path, "real")], tmp_path / "out"))


def test_the_command_sorts_a_folder(samples: Path, tmp_path: Path) -> None:
    shutil.copytree(samples, tmp_path / "in")
    assert (
        run(["scan", str(tmp_path / "in"), "-q", "--copy-to", str(tmp_path / "out"), "-o", str(tmp_path / "r.csv")])
        == 0
    )
    copies = {path.name: path for path in (tmp_path / "out").rglob("*.*")}
    assert {path.parent.name for path in copies.values()} <= {"real", "fake", "uncertain"}
    assert copies["real_astronaut.jpg"].parent.name == "real"
    assert copies["real_astronaut.jpg"].read_bytes() == (samples / "real_astronaut.jpg").read_bytes()
    assert "no_face_coffee.jpg" not in copies


@pytest.mark.parametrize("target", ["in", "in/sorted"])
def test_copies_do_not_go_where_pictures_are_looked_for(target: str, samples: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(samples, tmp_path / "in")
    assert run(["scan", str(tmp_path / "in"), "--copy-to", str(tmp_path / target)]) == 2
    assert "outside" in capsys.readouterr().err
