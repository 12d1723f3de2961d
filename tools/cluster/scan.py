"""A scan on a cluster: what is listed, and what each worker makes of a batch with the same detector as everywhere."""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from ...edge.detector import Detector
from ...edge.errors import ImageError
from ...edge.results import FileResult
from ...edge.runtime import silent_stderr
from ...edge.scan import scan_one
from .diary import KILLER, Diary, own_folder
from .rows import NOT_FETCHED, ROW, key, row
from .sources import FILE, LOCAL, File, Sources, cause

_BATCH_FILES = 64
_LARGE_BATCH_FILES = 512
_BATCHES = 128  # before they grow: of small ones Ray bears some 110 a second (docs/scale.md)
_AHEAD = 16  # files: a store answers each in some 50 ms, a scan takes some 5
_AHEAD_BYTES = 32 << 20
_SPARE_BYTES = 256 << 20  # of a node's disk, that no copy takes


@dataclass(frozen=True)
class Listing:
    """The files to be scanned, as batches for engine.spread."""

    sources: Sources
    follow_links: bool
    done: np.ndarray
    """Keys of the files that have a row already, sorted, S16."""

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
                size = min(max(_BATCH_FILES, listed // _BATCHES), _LARGE_BATCH_FILES)
                pictures = []
        if pictures:
            yield pa.array(pictures, FILE)

    def _is_done(self, file: File) -> bool:
        own = np.array(key(self.sources.name(file), file["size_bytes"], file["modified_us"]), "S16")
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

    def __call__(self, items: pa.StructArray, diary: Diary) -> pa.StructArray:
        """Return a ROW for each FILE, in their order; of a file that cannot be read it says why."""
        self._sources.enter()
        fetched = self._fetched(items.to_pylist())
        fetched = chain([next(fetched)], fetched)  # so that they are fetched while another batch is scanned
        rows = []
        with self._scans:
            for (file, content), may_look in diary.each(fetched):
                result = self._scanned(file, content) if may_look else self._error(KILLER)
                rows.append(row(result, file, self._sources.name(file), self._detector))
        return pa.array(rows, ROW)

    def _fetched(self, files: Iterable[File]) -> Iterator[tuple[File, Future[bytes | None]]]:
        """Yield files and what is in them; some are fetched ahead, but no more than fit into memory."""
        ahead: deque[tuple[File, Future[bytes | None]]] = deque()
        waiting_bytes = 0
        for file in files:
            size_bytes = file["size_bytes"] or 0
            while ahead and (len(ahead) == _AHEAD or waiting_bytes + size_bytes > _AHEAD_BYTES):
                waiting_bytes -= ahead[0][0]["size_bytes"] or 0
                yield ahead.popleft()
            ahead.append((file, self._fetches.submit(self._sources.content, file)))
            waiting_bytes += size_bytes
        yield from ahead

    def _scanned(self, file: File, fetched: Future[bytes | None]) -> FileResult:
        try:
            content = fetched.result()
            if file["source"] != LOCAL and content is None:
                with _copies(file["size_bytes"] or 0) as folder:
                    result = scan_one(self._sources.copy(file, folder), self._detector, fps=self._fps)
            else:
                result = scan_one(self._sources.path(file), self._detector, content=content, fps=self._fps)
        except ImageError as error:
            return self._error(str(error))
        except (pa.ArrowException, OSError) as error:
            return self._error(f"{NOT_FETCHED}: {cause(error, file)}")
        assert result is not None  # nothing stops it
        return result

    def _error(self, reason: str) -> FileResult:
        return self._detector.failed("", reason)


@contextmanager
def _copies(size_bytes: int) -> Iterator[Path]:
    """Yield a new folder, and take it away with those of processes that were killed; raises OSError without room."""
    above = own_folder()
    for left in above.glob("copies-*"):
        if not psutil.pid_exists(int(left.name.partition("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    if shutil.disk_usage(above).free < size_bytes + _SPARE_BYTES:
        raise OSError(ENOSPC, "no room")
    folder = above / f"copies-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
