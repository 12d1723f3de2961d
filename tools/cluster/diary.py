"""What the workers of a run are at, kept on their node, where their death does not reach."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil

from ...edge.errors import SourceError

KILLER = "it ended the process that looked at it, twice"
"""Why an item is looked at no more."""

_NOTHING = 0xFFFF_FFFF
_HEAD_BYTES = 8  # the item that is looked at, and deaths at none
_DEATHS = 2  # once may be anything's fault: memory that others took, somebody's kill
_DEATHS_AT_NONE = 50  # most are those of another batch of the same process
_DEATHS_AT_START = 5
_OLD_S = 30 * 86_400
_Item = TypeVar("_Item")


def own_folder() -> Path:
    """Return a folder of a node that this user's workers alone can read; raises SourceError if there can be none."""
    # With the node's name, for nodes may share what they call /tmp.
    folder = Path(tempfile.gettempdir(), f"facetell-{os.getuid()}-{os.uname().nodename}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise PermissionError("it is somebody else's")
    except OSError as error:
        raise SourceError(f"cannot use {folder} on a node: {error}") from error
    return folder


@contextmanager
def starting(run: str) -> Iterator[None]:
    """Note that a worker of a run starts; raises SourceError when some have ended here while they did, one by one."""
    folder = own_folder()
    for left in folder.iterdir():  # by a run that was ended
        with suppress(OSError):
            if left.is_file() and time.time() - left.stat().st_mtime > _OLD_S:
                left.unlink()
    ended = [left for left in folder.glob(f"{run}-start-*") if not psutil.pid_exists(int(left.name.rpartition("-")[2]))]
    if len(ended) >= _DEATHS_AT_START:
        why = "lack of memory, or a processor that the runtime does not know, most likely"
        raise SourceError(f"{len(ended)} workers ended while they started on {os.uname().nodename}: {why}")
    own = folder / f"{run}-start-{os.getpid()}"
    own.touch()
    try:
        yield
    finally:
        for started in (own, *ended):
            started.unlink(missing_ok=True)


class Diary:
    """Which item of a batch is looked at, and how often each has ended the process that did."""

    def __init__(self, run: str, batch: int, items: int) -> None:
        """Open the diary of a run's batch and read what became of those who worked on it before on this node.

        Raises SourceError when too many have ended at none of its items.
        """
        self._path = own_folder() / f"{run}-batch-{batch}"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        said = os.pread(self._file, _HEAD_BYTES + items, 0)
        self._deaths = bytearray(said[_HEAD_BYTES:].ljust(items, b"\0"))
        at, at_none = int.from_bytes(said[:4], "big"), int.from_bytes(said[4:_HEAD_BYTES], "big")
        if said and at == _NOTHING:
            at_none += 1
        elif said:
            self._deaths[at] += 1
        if at_none >= _DEATHS_AT_NONE:
            raise SourceError(f"{at_none} workers ended on {os.uname().nodename} before they looked at anything")
        os.pwrite(self._file, _NOTHING.to_bytes(4, "big") + at_none.to_bytes(4, "big") + self._deaths, 0)

    def __enter__(self) -> Diary:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Throw the diary away."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)

    def each(self, items: Iterable[_Item]) -> Iterator[tuple[_Item, bool]]:
        """Yield the batch's items, noting each, and whether it may be looked at."""
        for number, item in enumerate(items):
            os.pwrite(self._file, number.to_bytes(4, "big"), 0)
            yield item, self._deaths[number] < _DEATHS
        os.pwrite(self._file, _NOTHING.to_bytes(4, "big"), 0)
