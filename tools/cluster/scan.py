"""A scan on a cluster: what is listed, and what each worker makes of a batch with the same detector as everywhere."""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from ...edge.detector import Detector
from ...edge.errors import ImageError, SourceError
from ...edge.results import FileResult
from ...edge.runtime import silent_stderr
from ...edge.scan import scan_one
from .diary import Diary, own_folder
from .rows import NOT_FETCHED, ROW, key, row
from .sources import FILE, LOCAL, File, Sources, cause

_BATCH_FILES = 64
_LARGE_BATCH_FILES = 512
_BATCHES = 16  # of each worker, before they grow: of small ones Ray bears some 110 a second (docs/scale.md)
_AHEAD = 16  # files: a store answers each in some 50 ms, a scan takes some 5
_KILLER = "it ended the process that looked at it, twice"


@dataclass(frozen=True)
class Listing:
    """The files to be scanned, as batches for engine.spread."""

    sources: Sources
    follow_links: bool
    done: np.ndarray
    """Keys of the files that have a row already, sorted, S16."""
    workers: int

    def __call__(self) -> Iterator[pa.StructArray]:
        """Yield FILEs, some pictures or one video at a time; raises SourceError where a source does not exist."""
        pictures: list[File] = []
        listed, size = 0, _BATCH_FILES
        for file in self.sources.files(follow_links=self.follow_links):
            if self._is_done(file):
                continue
            if self.sources.is_video(file):
                yield pa.array([file], FILE)
                continue
            pictures.append(file)
            if len(pictures) == size:
                yield pa.array(pictures, FILE)
                listed += size
                size = min(max(_BATCH_FILES, listed // (_BATCHES * self.workers)), _LARGE_BATCH_FILES)
                pictures = []
        if pictures:
            yield pa.array(pictures, FILE)

    def _is_done(self, file: File) -> bool:
        own = np.array(key(self.sources.name(file), file["size_bytes"], file["modified_ns"]), "S16")
        place = np.searchsorted(self.done, own)
        return bool(place < len(self.done) and self.done[place] == own)


class Scanner:
    """One detector, for the batches it is given; its calls come from more than one thread."""

    def __init__(self, make_detector: Callable[[], Detector], sources: Sources, fps: float) -> None:
        """Load the models; raises what Detector raises."""
        with silent_stderr():
            self._detector = make_detector()
        self._sources, self._fps = sources, fps
        self._scans = threading.Lock()
        self._fetches = ThreadPoolExecutor(_AHEAD, "fetch")

    def __call__(self, items: pa.StructArray) -> pa.StructArray:
        """Return a ROW for each FILE, in their order; of a file that cannot be read it says why."""
        self._sources.enter()
        files: list[File] = items.to_pylist()
        fetched = deque(map(self._fetch, files[:_AHEAD]))
        rows = []
        with self._scans:
            diary = Diary(key(self._sources.name(files[0]), len(files), files[0]["modified_ns"]).hex(), len(files))
            for number, file in enumerate(files):
                content = fetched.popleft()
                fetched.extend(map(self._fetch, files[number + _AHEAD : number + _AHEAD + 1]))
                result = self._scanned(file, content) if diary.may_look_at(number) else self._error(_KILLER)
                rows.append(row(result, file, self._sources.name(file), self._detector))
            diary.done()
        return pa.array(rows, ROW)

    def _fetch(self, file: File) -> Future[bytes | None]:
        return self._fetches.submit(self._sources.content, file)

    def _scanned(self, file: File, fetched: Future[bytes | None]) -> FileResult:
        try:
            content = fetched.result()
            if file["source"] != LOCAL and content is None:
                with _copies() as folder:
                    result = scan_one(self._sources.copy(file, folder), self._detector, fps=self._fps)
            else:
                result = scan_one(self._sources.path(file), self._detector, content=content, fps=self._fps)
        except ImageError as error:
            return self._error(str(error))
        except (pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) in (ENOSPC, EDQUOT):
                raise SourceError(f"there is no room for copies on a node: {cause(error)}") from error
            return self._error(f"{NOT_FETCHED}: {cause(error)}")
        assert result is not None  # nothing stops it
        return result

    def _error(self, reason: str) -> FileResult:
        return FileResult(path="", status="error", verdict="error", error=reason, **self._detector.signed)


@contextmanager
def _copies() -> Iterator[Path]:
    """Yield a new folder, and take it away with those of processes that were killed."""
    above = own_folder()
    for left in above.glob("copies-*"):
        if not psutil.pid_exists(int(left.name.partition("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    folder = above / f"copies-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
