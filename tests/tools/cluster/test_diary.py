"""An item that ends its process twice is not tried a third time; what ends it once is no fault of the item's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed")

from facetell.edge.errors import SourceError
from facetell.tools.cluster.diary import Diary, own_folder, starting

ITEMS = 5


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def die_at(number: int, run: str = "run", batch: int = 0) -> list[int]:
    """Work on a batch until the process would end, and return which items were looked at."""
    looked_at = []
    for item, may_look in Diary(run, batch, ITEMS).each(range(ITEMS)):
        looked_at += [item] * may_look
        if item == number:
            break
    return looked_at


def test_a_killer_is_left_out_the_third_time() -> None:
    assert die_at(2) == [0, 1, 2]
    assert die_at(2) == [0, 1, 2]
    assert die_at(4) == [0, 1, 3, 4]


def test_two_deaths_at_different_items_are_nobodys_fault() -> None:
    die_at(1)
    die_at(2)
    assert die_at(4) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("run", "batch"), [("another", 0), ("run", 1)])
def test_another_runs_death_and_another_batchs_do_not_count(run: str, batch: int) -> None:
    die_at(2)
    die_at(2)
    assert die_at(4, run, batch) == [0, 1, 2, 3, 4]


def test_a_death_after_the_last_item_is_nobodys_fault() -> None:
    for _ in range(3):
        assert [may_look for _, may_look in Diary("run", 0, ITEMS).each(range(ITEMS))] == [True] * ITEMS


def test_a_death_between_items_is_nobodys_fault_but_has_an_end() -> None:
    for _ in range(50):
        Diary("run", 0, ITEMS)
    with pytest.raises(SourceError, match="50 workers ended on"):
        Diary("run", 0, ITEMS)


def test_what_is_done_leaves_nothing() -> None:
    with starting("run"), Diary("run", 0, ITEMS):
        assert len(list(own_folder().iterdir())) == 2
    assert list(own_folder().iterdir()) == []


def test_workers_that_end_while_they_start_are_told() -> None:
    for _ in range(5):
        process = subprocess.Popen(["true"])
        process.wait()
        (own_folder() / f"run-start-{process.pid}").touch()
    with pytest.raises(SourceError, match="5 workers ended while they started"), starting("run"):
        pass
    with starting("another"):
        pass


def test_nobody_else_reads_it() -> None:
    assert own_folder().stat().st_mode & 0o077 == 0
