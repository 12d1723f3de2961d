"""What a worker is at, kept where its death does not reach: a file that ends its process twice is not tried again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ...edge.errors import SourceError

_NOTHING = b"\xff" * 4
_DEATHS = 2
"""Once may be anything's fault: memory that others took, somebody's kill."""


def own_folder() -> Path:
    """Return a folder of a node that this user's workers alone can read; raises SourceError if there can be none."""
    folder = Path(tempfile.gettempdir(), f"facetell-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise PermissionError("it is somebody else's")
    except OSError as error:
        raise SourceError(f"cannot use {folder} on a node: {error}") from error
    return folder


class Diary:
    """Which file of a batch is looked at, and how often each has ended the process that did."""

    def __init__(self, batch: str, files: int) -> None:
        """Open the diary of a batch, and read what became of those who worked on it before on this node."""
        self._path = own_folder() / f"diary-{batch}"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        said = os.pread(self._file, 4 + files, 0)
        self._deaths = bytearray(said[4:].ljust(files, b"\0"))
        at = int.from_bytes(said[:4] or _NOTHING, "big")
        if at < files:
            self._deaths[at] += 1
        os.pwrite(self._file, _NOTHING + self._deaths, 0)

    def may_look_at(self, number: int) -> bool:
        """Return whether a file may be looked at, and note that it is."""
        os.pwrite(self._file, number.to_bytes(4, "big"), 0)
        return self._deaths[number] < _DEATHS

    def done(self) -> None:
        """Throw the diary away."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)
