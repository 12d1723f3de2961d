"""How fast a scan on a Ray cluster of this machine is, against a plain one: python -m tests.tools.cluster.speed FOLDER.

Rounds of both in turn, with the same number of workers; prints the medians and the ratio of each round as Markdown, and
then how many files a second listing, Ray and writing would bear with workers that took no time.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil
import pyarrow as pa

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.edge.runtime import silent_stderr
from facetell.edge.scan import expand_paths, scan_files
from facetell.tools.cluster.diary import Diary
from facetell.tools.cluster.engine import cluster, spread
from facetell.tools.cluster.rows import NONE_DONE, Parts
from facetell.tools.cluster.scan import Listing, Scanner
from facetell.tools.cluster.sources import Sources

ROUNDS = 3
EMPTY_FILES = 200_000
FPS = 5.0


class Run(NamedTuple):
    """One scan."""

    files: int
    first_s: float
    """From the start, that of Ray included, to the first rows."""
    rate: float
    """Files a second from the first rows to the last."""
    memory_mb: float
    """The most that this process and its children held, what they share counted once (PSS)."""


def plain(folder: Path, workers: int) -> Iterator[int]:
    """Yield how many files are done."""
    detector = Detector(load_bundle(), precision="float32")
    for _ in scan_files(expand_paths([folder]), detector, workers=workers, fps=FPS):
        yield 1


def on_cluster(folder: Path, workers: int) -> Iterator[int]:
    """Yield how many files are done."""
    sources = Sources((str(folder),))
    arguments = (partial(Detector, load_bundle(), precision="float32"), sources, FPS)
    with cluster("auto", workers) as count:
        for rows in spread(Listing(sources, False, NONE_DONE), Scanner, arguments, count):
            yield len(rows)


class Idle:
    """A worker that takes no time: its rows were made before."""

    def __init__(self, rows: pa.StructArray) -> None:
        """Take one row, of a real scan."""
        self._rows = rows

    def __call__(self, items: pa.StructArray, diary: Diary) -> pa.StructArray:
        """Return that row, for each item."""
        return self._rows.take(pa.array([0] * len(items)))


def ceilings(photo: Path, folder: Path) -> None:
    """Print files a second of each part that the workers share, each by itself, and of all together."""
    for number in range(EMPTY_FILES):
        path = folder / "empty" / f"{number // 1000:03}" / f"{number % 1000:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    listing = Listing(Sources((str(folder / "empty"),)), False, NONE_DONE)
    started = time.monotonic()
    files = sum(map(len, listing()))
    print(f"| listing alone | {files / (time.monotonic() - started):,.0f} |")
    one = Sources((str(photo),))
    scanner = Scanner(partial(Detector, load_bundle(), precision="float32"), one, FPS)
    with Diary("speed", 0, 1) as diary:
        row = scanner(next(Listing(one, False, NONE_DONE)()), diary)
    parts, arrivals = Parts(str(folder / "rows")), {}
    with cluster("auto", 2) as count:
        for rows in spread(listing, Idle, (row,), count):
            parts.add(rows)
            arrivals.setdefault(len(rows), []).append(time.monotonic())
        parts.flush()
    for size in (64, 512):  # at first, and from the middle on
        seconds = arrivals[size][-1] - arrivals[size][0]
        print(f"| all together, in batches of {size} | {(len(arrivals[size]) - 1) * size / seconds:,.0f} |")
    started = time.monotonic()
    for start in range(0, files, 64):
        parts.add(row.take(pa.array([0] * min(64, files - start))))
    parts.flush()
    print(f"| writing alone | {files / (time.monotonic() - started):,.0f} |")


def measured(scan: Callable[[Path, int], Iterable[int]], folder: Path, workers: int) -> Run:
    """Run a scan."""
    started = time.monotonic()
    with peak_memory() as peak:
        arrived = [(time.monotonic(), count) for count in scan(folder, workers)]
    (first, head), (last, _) = arrived[0], arrived[-1]
    files = sum(count for _, count in arrived)
    return Run(files, first - started, (files - head) / (last - first), max(peak) / 1e6)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Yield a list that memory is added to, in bytes, every half second."""
    seen, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            seen.append(sum(map(_pss, [psutil.Process(), *psutil.Process().children(recursive=True)])))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _pss(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss
    except psutil.Error:  # gone
        return 0


def main(folder: Path) -> None:
    """Measure with one worker and with two."""
    print("| workers | | files/s | of plain | first rows, s | memory, MB |\n|---|---|---|---|---|---|")
    for workers in (1, 2):
        pairs = [(measured(plain, folder, workers), measured(on_cluster, folder, workers)) for _ in range(ROUNDS)]
        ratios = [ours.rate / theirs.rate for theirs, ours in pairs]
        for name, runs in (("plain", [one for one, _ in pairs]), ("cluster", [other for _, other in pairs])):
            share = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if name == "cluster" else "1"
            rate, first, memory = (
                median(getattr(run, key) for run in runs) for key in ("rate", "first_s", "memory_mb")
            )
            print(f"| {workers} | {name} | {rate:.0f} | {share} | {first:.1f} | {memory:.0f} |", flush=True)
    print(f"\n{pairs[0][0].files} files, {ROUNDS} rounds.")


if __name__ == "__main__":
    with silent_stderr(), TemporaryDirectory() as folder:
        main(Path(sys.argv[1]))
        print("\n| what all workers share | files/s |\n|---|---|")
        ceilings(next(expand_paths([Path(sys.argv[1])])), Path(folder))
