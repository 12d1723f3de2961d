"""Which files a scan is of, and their results, in order, from as many threads as there are processors."""

from __future__ import annotations

import glob
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from functools import partial
from itertools import chain, takewhile
from pathlib import Path
from typing import TypeVar

from . import video
from .detector import Detector
from .draw import draw_faces
from .errors import FacetellError, ImageError, SourceError
from .images import SUFFIXES as PICTURES
from .images import read_image, write_image
from .results import FileResult

_T = TypeVar("_T")

SUFFIXES = PICTURES | video.SUFFIXES
"""Of the files that a folder gives."""

_AHEAD = 32  # files a worker may be ahead of the slowest one
_LOOK_UP_S = 0.1  # how often a wait for a result looks whether to stop


def available_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def expand_paths(named: Iterable[Path], listed: Iterable[Path] = (), *, follow_links: bool = False) -> Iterator[Path]:
    """Return the files named, and in the order of their names all pictures and videos in folders and below.

    What does not exist may be a glob pattern; ** in it stands for any folders that are no links. What is listed, in a
    file say, follows likewise; a listed path that is gone is passed on, to be reported. Links to folders are not
    followed unless follow_links, and then no folder is entered twice. A file that is named is taken whatever its
    ending, for its content decides; so is a folder that cannot be listed, to be reported. Where more than one path is
    named, each file comes once.

    Raises SourceError at once when a named path does not exist and is no pattern of one.
    """
    found = [match for path in named for match in _matches(path, follow_links)]
    walk = _Walk(follow_links)
    files = (file for path in chain(found, listed) for file in (walk.below(path) if _is(path, Path.is_dir) else [path]))
    return _once(files) if len(found) > 1 else files


def scan_one(
    path: Path,
    detector: Detector,
    *,
    content: bytes | None = None,
    fps: float = video.DEFAULT_FPS,
    annotated: Path | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
    stopped: Callable[[], bool] = lambda: False,
) -> FileResult | None:
    """Return the result of a picture or video, or None for a video that was stopped.

    content is what a picture's file holds, where that has been read. A file that makes us fail gives a result that says
    so. Raises SourceError where annotated cannot be written.
    """
    try:
        if path.suffix.lower() not in video.SUFFIXES:
            result = detector.scan_file(path, content=content)
            if annotated and result.status == "ok":
                image = read_image(path, max_megapixels=detector.max_megapixels)
                draw_faces(image, result.faces)
                write_image(image, annotated)
            return result
        return video.scan_video(path, detector, fps=fps, annotated=annotated, on_progress=on_progress, stopped=stopped)
    except ImageError as error:  # the file changed after it was scored, before it was drawn
        return detector.failed(path, str(error))
    except FacetellError:  # where results go cannot be written: so it would be for every file
        raise
    except Exception as error:  # one file must not end the scan of a million
        reason = f"facetell failed, please report it: {type(error).__name__}: {error}"
        return detector.failed(path, reason)


def scan_files(
    paths: Iterable[Path],
    detector: Detector,
    *,
    workers: int,
    fps: float = video.DEFAULT_FPS,
    annotated: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
    on_video: Callable[[Path, float], None] = lambda path, share: None,
) -> Generator[FileResult]:
    """Yield one result for each path, in their order, until stopped; what is done by then still comes.

    Paths are taken no further ahead than keeps workers threads busy, so memory does not grow with their number. A file
    that makes us fail becomes a result that says so.

    Of videos fps frames a second are looked at; on_video is told which share of one is done, from any thread; annotated
    is the file to draw the only one to. Raises what paths raise.
    """
    results: queue.SimpleQueue[Future[FileResult | None] | BaseException | None] = queue.SimpleQueue()
    ahead = threading.Semaphore(_AHEAD * workers)
    closed = threading.Event()

    def scan(path: Path) -> FileResult | None:
        on_progress = partial(on_video, path)
        return scan_one(path, detector, fps=fps, annotated=annotated, on_progress=on_progress, stopped=closed.is_set)

    def take_paths() -> None:
        try:
            for path in paths:
                ahead.acquire()
                if closed.is_set():
                    return
                results.put(pool.submit(scan, path))
            results.put(None)
        except BaseException as error:
            results.put(None if closed.is_set() else error)  # the pool takes nothing more

    def close() -> None:
        closed.set()
        ahead.release()
        pool.shutdown(cancel_futures=True)

    def next_of(get: Callable[[float], _T]) -> _T | None:
        """Return what get gives, waiting for it until stopped, and None where it is not there then."""
        while True:
            if stopped() and not closed.is_set():
                close()
            with suppress(queue.Empty, FutureTimeoutError, CancelledError):
                return get(_LOOK_UP_S)
            if closed.is_set():
                return None

    with ThreadPoolExecutor(workers, "scan") as pool:
        threading.Thread(target=take_paths, name="scan-paths", daemon=True).start()
        try:
            while head := next_of(lambda timeout_s: results.get(timeout=timeout_s)):
                if isinstance(head, BaseException):
                    raise head
                result = next_of(head.result)
                if result is not None:  # a video that was stopped; what is behind it may be done
                    yield result
                ahead.release()
        finally:
            close()


class _Walk:
    """Pictures in folders and below, no folder twice."""

    def __init__(self, follow_links: bool) -> None:
        self._follow_links = follow_links
        self._entered: set[tuple[int, int]] = set()

    def below(self, folder: Path) -> Iterator[Path]:
        above = [iter([(folder, True)])]  # a stack of our own: folders may be nested deeper than Python's
        while above:
            path, is_folder = next(above[-1], (None, False))
            if path is None:
                above.pop()
            elif not is_folder:
                yield path
            else:
                try:
                    above.append(self._below(path))
                except OSError:
                    yield path

    def _below(self, folder: Path) -> Iterator[tuple[Path, bool]]:
        """Return what is in a folder, in order, and whether it is a folder; nothing where it was entered before."""
        if not self._is_new(folder):
            return iter(())
        names, folders = self._content(folder)
        return ((folder / name, name in folders) for name in sorted(names))

    def _is_new(self, folder: Path) -> bool:
        if not self._follow_links:
            return True
        status = folder.stat()
        identity = status.st_dev, status.st_ino
        was_entered = identity in self._entered
        self._entered.add(identity)
        return not was_entered

    def _content(self, folder: Path) -> tuple[list[str], set[str]]:
        """Return the names in a folder that are to be looked at, and which of them are folders."""
        names: list[str] = []
        folders: set[str] = set()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") and ".partial" in entry.name:  # of ours, of a scan that was killed
                    continue
                try:
                    is_folder = entry.is_dir()
                except OSError:  # a folder that can be listed but not entered: it is passed on, to be reported
                    names.append(entry.name)
                    continue
                if is_folder and (self._follow_links or not entry.is_symlink()):
                    names.append(entry.name)
                    folders.add(entry.name)
                elif not is_folder and Path(entry.name).suffix.lower() in SUFFIXES:
                    names.append(entry.name)
        return names, folders


def is_looked_for_in(named: Path, folder: Path) -> bool:
    """Return whether what is put into a folder is looked for by a named path, a pattern perhaps, later on."""
    above = named if _is(named, Path.exists) else Path(*_plain_parts(named))
    return above.resolve() in (folder.resolve(), *folder.resolve().parents)


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except OSError:  # a name too long, a folder that may not be entered: it is passed on, to be reported
        return False


def _plain_parts(path: Path) -> tuple[str, ...]:
    """Return the parts of a path before the first that is a pattern."""
    return tuple(takewhile(lambda part: not glob.has_magic(part), path.parts))


def _once(files: Iterable[Path]) -> Iterator[Path]:
    seen: set[int] = set()  # hashes, as the paths of a million files fill a small machine's memory
    for file in files:
        name = hash(os.path.normpath(file))
        if name not in seen:
            seen.add(name)
            yield file


def _matches(path: Path, follow_links: bool) -> list[Path]:
    """Return a path that exists, or what a pattern stands for: nothing twice, nothing behind a link unless followed."""
    if _is(path, Path.exists):
        return [path]
    plain = len(_plain_parts(path))
    base, pattern = Path(*path.parts[:plain]), path.parts[plain:]
    try:  # glob.glob would follow every ** through links, round and round
        found = sorted(set(base.glob(str(Path(*pattern))))) if pattern else []
    except ValueError as error:
        raise SourceError(f"{path} is no pattern that is understood: {error}") from error
    if not any(part.startswith(".") for part in pattern):  # as a shell has it
        found = [match for match in found if not any(part.startswith(".") for part in match.parts[plain:])]
    folders = {match for match in found if match.is_dir()}
    kept = []
    for match in found:
        above = [Path(*match.parts[:count]) for count in range(plain, len(match.parts))]
        entered = [*above[1:], *([match] if match in folders else [])]
        behind_link = not follow_links and any(folder.is_symlink() for folder in entered)
        if not folders.intersection(above) and not behind_link:
            kept.append(match)
    if not kept:
        raise SourceError(f"{path} does not exist and matches nothing as a pattern; wanted pictures or folders of them")
    return kept
