"""The history: found, deleted, dropped when old, and there after a kill."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetell.edge.errors import SourceError
from facetell.edge.results import FaceResult, FileResult
from facetell.tools.web.history import History

FACE = FaceResult((0.0, 0.0, 10.0, 10.0), 0.9, 0.97, "fake")
FAKE = FileResult("a", "ok", "fake", 0.97, [FACE], model="facetell-default 10c699dc")
NO_FACE = FileResult("b", "ok", "no_face", model="facetell-default 10c699dc")
PICTURE = np.full((300, 500, 3), (200, 30, 40), np.uint8)


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path / "history.sqlite")
    history.add("Ünïcödé holiday.jpg", FAKE, PICTURE)
    history.add("coffee.jpg", NO_FACE, PICTURE)
    history.add("it's; DROP TABLE scored;--.jpg", FAKE, None)
    return history


def test_what_was_added_is_there_newest_first(history: History) -> None:
    third, second, first = history.search()
    assert (third.id, second.id, first.id) == (3, 2, 1)
    assert (first.name, first.verdict, first.p_fake, first.faces) == ("Ünïcödé holiday.jpg", "fake", 0.97, 1)
    assert (second.verdict, second.p_fake, second.faces) == ("no_face", None, 0)
    assert third.thumbnail is None
    with Image.open(io.BytesIO(first.thumbnail or b"")) as thumbnail:
        assert thumbnail.size == (160, 96)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", [3, 2, 1]),
        ("holiday", [1]),
        ("HOLIDAY", [1]),
        ("fake", [3, 1]),
        ("fake holiday", [1]),
        ("10c699dc", [3, 2, 1]),
        ("nothing like that", []),
        ("%", []),
        ("' OR 1=1 --", []),
        ("drop table", [3]),
    ],
)
def test_search(words: str, found: list[int], history: History) -> None:
    assert [entry.id for entry in history.search(words)] == found


def test_one_is_deleted_and_its_bytes_are_gone(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.add("a secret name.jpg", FAKE, PICTURE)
    assert b"a secret name" in (tmp_path / "history.sqlite").read_bytes()
    assert history.delete(1)
    assert not history.delete(1)
    assert history.search() == []
    assert b"a secret name" not in (tmp_path / "history.sqlite").read_bytes()


def test_all_are_deleted(history: History) -> None:
    assert history.delete_all() == 3
    assert history.search() == []


def test_what_is_old_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    History(path).add("old.jpg", FAKE, None)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE scored SET time = '2020-01-01T00:00:00+00:00'")
    connection.close()
    History(path).add("new.jpg", FAKE, None)
    assert [entry.name for entry in History(path).search()] == ["new.jpg", "old.jpg"]
    assert [entry.name for entry in History(path, keep_days=30).search()] == ["new.jpg"]


def test_a_kill_loses_nothing_that_was_added(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    code = (
        "import sys; from pathlib import Path; from facetell.tools.web.history import History;"
        "from facetell.edge.results import FileResult; history = History(Path(sys.argv[1]));"
        "[print(history.add(str(n), FileResult('a', 'ok', 'real'), None), flush=True) for n in range(100000)]"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(20):
            process.stdout.readline()
        time.sleep(0.1)
        process.kill()
        last = 20 + len(process.stdout.read().splitlines())
    assert len(History(path).search(limit=10**6)) >= last


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("my notes" * 1000)
    with pytest.raises(SourceError, match=r"cannot be used.*--history"):
        History(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match="cannot be used"):
        History(tmp_path / "nowhere" / "history.sqlite")
    assert (tmp_path / "notes.txt").read_text() == "my notes" * 1000
