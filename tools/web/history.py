"""What was scored before: thumbnails and verdicts in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np

from ...edge.errors import SourceError
from ...edge.results import FileResult
from .scorer import fitted

_THUMBNAIL_PX = 160
_TERMS = 20  # of a search, that are looked for
_WAIT_S = 10  # for another process that writes
_TABLE = """
CREATE TABLE IF NOT EXISTS scored (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    name TEXT NOT NULL,
    verdict TEXT NOT NULL,
    p_fake REAL,
    faces INTEGER NOT NULL,
    model TEXT NOT NULL,
    thumbnail BLOB
)
"""
_COLUMNS = "id, time, name, verdict, p_fake, faces, model, thumbnail"


@dataclass(frozen=True)
class Entry:
    """One picture or video that was scored."""

    id: int
    time: str
    """UTC, ISO 8601."""
    name: str
    verdict: str
    p_fake: float | None
    faces: int
    model: str
    thumbnail: bytes | None
    """JPEG."""


class History:
    """A file of entries; for use in any thread."""

    def __init__(self, path: Path, keep_days: float | None = None) -> None:
        """Open or begin a history, and drop what is older than keep_days; raises SourceError when it cannot be used."""
        self._path = path
        self.keep_days = keep_days
        if not path.exists():
            with suppress(OSError):  # SQLite says why it cannot be opened
                path.touch(mode=0o600)  # there are faces in it
        with self._connected() as connection:
            connection.execute(_TABLE)
        self._drop_old()

    def add(self, name: str, result: FileResult, image: np.ndarray | None) -> int:
        """Add what was said of a picture, (H, W, 3) uint8 RGB, or a video, and return the entry's id."""
        self._drop_old()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        thumbnail = None if image is None else _thumbnail(image)
        values = (now, name, result.verdict, result.p_fake, len(result.faces), result.model, thumbnail)
        with self._connected() as connection:
            cursor = connection.execute(
                "INSERT INTO scored (time, name, verdict, p_fake, faces, model, thumbnail) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            return cursor.lastrowid or 0

    def search(self, words: str = "", limit: int = 100) -> list[Entry]:
        """Return the newest entries whose name, verdict, model or time holds all the words."""
        self._drop_old()
        terms = words.split()[:_TERMS]
        found = "instr(lower(name || ' ' || verdict || ' ' || model || ' ' || time), lower(?)) > 0"
        where = " AND ".join([found] * len(terms)) or "1"
        with self._connected() as connection:
            # What goes into the text is ours; what was typed goes in as parameters.
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM scored WHERE {where} ORDER BY id DESC LIMIT ?",
                (*terms, limit),
            )
            return [Entry(*row) for row in rows]

    def delete(self, number: int) -> bool:
        """Delete an entry and return whether there was one."""
        with self._connected() as connection:
            return connection.execute("DELETE FROM scored WHERE id = ?", (number,)).rowcount > 0

    def delete_all(self) -> int:
        """Delete all entries and return how many there were."""
        with self._connected() as connection:
            return connection.execute("DELETE FROM scored").rowcount

    def _drop_old(self) -> None:
        if self.keep_days is not None:
            oldest = datetime.now(timezone.utc) - timedelta(days=self.keep_days)
            with self._connected() as connection:
                connection.execute("DELETE FROM scored WHERE time < ?", (oldest.isoformat(timespec="seconds"),))

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=_WAIT_S)
            try:
                connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            advice = "choose another file with --history"
            raise SourceError(f"the history {self._path} cannot be used: {error}; {advice}") from error


def _thumbnail(image: np.ndarray) -> bytes:
    small = fitted(image, _THUMBNAIL_PX)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()
