"""A scan on a cluster: what is listed, and what each worker makes of a batch with the same detector as everywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from ...edge.detector import Detector
from ...edge.results import FileResult
from ...edge.runtime import silent_stderr
from ...edge.scan import scan_one
from .rows import ROW, Row, key, row
from .sources import FILE, File, Sources

_BATCH_FILES = 64
_FETCHES = 16  # at a time: a store answers each in some 50 ms, a scan takes some 5


@dataclass(frozen=True)
class Listing:
    """The files to be scanned, as batches for engine.spread."""

    sources: Sources
    follow_links: bool
    done: np.ndarray
    """Keys of the files that have a row already, sorted, S16."""

    def __call__(self) -> Iterator[pa.StructArray]:
        """Yield FILEs, some at a time; raises SourceError where a source does not exist."""
        files = (file for file in self.sources.files(follow_links=self.follow_links) if not self._is_done(file))
        while batch := list(islice(files, _BATCH_FILES)):
            yield pa.array(batch, FILE)

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
        self._fetches = ThreadPoolExecutor(_FETCHES, "fetch")

    def __call__(self, items: pa.StructArray) -> pa.StructArray:
        """Return a ROW for each FILE, in their order; of a file that cannot be read it says why."""
        files = items.to_pylist()
        with TemporaryDirectory(prefix="facetell-") as folder:
            folders = (Path(folder, str(number)) for number in range(len(files)))
            fetched = list(self._fetches.map(self._fetch, files, folders))
            with self._scans:
                return pa.array(map(self._row, files, fetched), ROW, size=len(files))

    def _fetch(self, file: File, folder: Path) -> Path | OSError:
        try:
            return self._sources.fetch(file, folder)
        except OSError as error:
            return error

    def _row(self, file: File, found: Path | OSError) -> Row:
        if isinstance(found, Path):
            result = scan_one(found, self._detector, fps=self._fps)
            assert result is not None  # nothing stops it
        else:
            reason = f"cannot be read: {found}"
            result = FileResult(path="", status="error", verdict="error", error=reason, **self._detector.signed)
        return row(result, file, self._sources.name(file), self._detector)
