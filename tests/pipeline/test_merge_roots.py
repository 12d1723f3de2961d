"""Which data set a picture is of: what its root is called, what lies above it, and where a link leads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from facetell.pipeline.sources import open_sources

from ..pictures import fill, zipped
from .merges import by_content, merged


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


def test_two_roots_called_real_and_fake_are_labels(tmp_path: Path, pack: Callable[[Path], Path]) -> None:
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


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    contents = fill(tmp_path / "data", ["real/a.jpg", "fake/b.jpg"])
    fill(tmp_path / "private", ["real/secret.jpg"], 9)
    (tmp_path / "data" / "real" / "link.jpg").symlink_to(tmp_path / "private" / "real" / "secret.jpg")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "private")
    merged(tmp_path / "data", output=tmp_path / "out")
    assert sorted(by_content(tmp_path / "out")) == sorted(contents.values())
