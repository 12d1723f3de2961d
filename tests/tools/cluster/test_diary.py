"""A file that ends its process twice is not tried a third time; what ends it once is no fault of the file's."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed")

from facetell.tools.cluster.diary import Diary, own_folder

FILES = 5


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def die_at(number: int) -> list[int]:
    """Work on a batch until the process would end, and return which files were looked at."""
    diary = Diary("batch", FILES)
    return [file for file in range(number + 1) if diary.may_look_at(file)]


def test_a_killer_is_left_out_the_third_time() -> None:
    assert die_at(2) == [0, 1, 2]
    assert die_at(2) == [0, 1, 2]
    assert die_at(4) == [0, 1, 3, 4]


def test_two_deaths_at_different_files_are_nobodys_fault() -> None:
    die_at(1)
    die_at(2)
    assert die_at(4) == [0, 1, 2, 3, 4]


def test_a_death_between_batches_is_nobodys_fault() -> None:
    Diary("batch", FILES)
    Diary("batch", FILES)
    assert die_at(4) == [0, 1, 2, 3, 4]


def test_what_is_done_leaves_nothing() -> None:
    Diary("batch", FILES).done()
    assert list(own_folder().iterdir()) == []


def test_nobody_else_reads_it() -> None:
    assert own_folder().stat().st_mode & 0o077 == 0
