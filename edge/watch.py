"""Files that arrive in a folder, each as soon as it is whole."""

from __future__ import annotations

import os
import queue
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from .errors import SourceError
from .scan import SUFFIXES, expand_paths

_LOOK_UP_S = 0.2
# For how long a file must have been still to be whole, by the last that is known of it.
_WAIT_S = {
    "closed": 0.2,  # some programs set the time of a file right after they have closed it
    "moved": 0.2,
    "created": 1.0,  # a link, or moved here from elsewhere, unless opened follows at once
    "closed_no_write": 1.0,
    "found": 1.0,  # by a walk, and nothing was heard of it
    "present": 2.0,  # from the start, but changed just before
    "opened": 60.0,  # closed follows, unless it was lost
    "modified": 60.0 if sys.platform == "linux" else 1.0,  # elsewhere no closed follows
}
# What says something of a file only after some events: reading opens a file, too, and before watchdog 7 attributes that
# change are a modified without an opened before it.
_ONLY_AFTER = {
    "opened": {"created", "found", "present", "closed", "moved", "closed_no_write"},
    "closed_no_write": {"opened"},
    "modified": {"", *_WAIT_S} - {"closed", "moved"},
}
_QUIET_S = 0.5  # from an event to the walk
_WALK_EVERY_S = 60.0  # network shares do not say what others write there
_REST_S, _REST_SHARE = 1.0, 10  # between two walks: a second, and ten times what the last one took


class _Held(NamedTuple):
    event: str
    state: int | None
    since: float


class Arrivals:
    """What is written or moved into a folder, or below it, from now on."""

    def __init__(self, folder: Path) -> None:
        """Begin to watch; raises SourceError when the folder cannot be watched."""
        self._folder = folder
        self._events: queue.SimpleQueue[tuple[str, Path]] = queue.SimpleQueue()
        if not folder.is_dir():
            raise SourceError(f"cannot watch {folder}; wanted a folder")
        observer = Observer()
        try:
            observer.schedule(_Handler(self._events.put), str(folder), recursive=True)
            observer.start()
        except OSError as error:
            raise SourceError(f"cannot watch {folder}: {error.strerror or error}; wanted a folder") from error
        self._there = {hash(path) for path in expand_paths([], [folder])}  # what is not wanted of it does not arrive
        self._known: set[int | None] = set()
        self._held: dict[Path, _Held] = {}
        self._walk_at = self._rested_at = time.monotonic()

    def after(self, present: Iterable[Path], stopped: Callable[[], bool]) -> Iterator[Path]:
        """Yield what is present, then each picture and video that arrives, once it is whole, until stopped.

        One that is written anew comes again.
        """
        for path in present:
            self._there.discard(hash(path))
            self._listen(0)
            if not self._is_held(path):
                self._known.add(_state(path))
                yield path
        while not stopped():
            self._listen(_LOOK_UP_S)
            if time.monotonic() >= self._walk_at:
                self._walk(stopped)
            for path in self._whole():
                yield path
                if stopped():
                    return

    def _is_held(self, path: Path) -> bool:
        """Hold back a file that is present but may still be written, and return whether it is held."""
        try:
            fresh = path.is_file() and abs(time.time() - path.stat().st_mtime) < _WAIT_S["present"]
        except OSError:  # gone, or not ours to look at; whoever reads it reports that
            fresh = False
        if fresh and path not in self._held:
            self._held[path] = _Held("present", _state(path), time.monotonic())
        return path in self._held

    def _listen(self, timeout: float) -> None:
        """Take note of all events that are there, or of those that come first within the time."""
        try:
            self._note(*self._events.get(timeout=timeout))
            while True:
                self._note(*self._events.get_nowait())
        except queue.Empty:
            pass

    def _note(self, event: str, path: Path) -> None:
        now = time.monotonic()
        if event not in ("opened", "closed_no_write"):  # of these our own reading makes some
            self._walk_at = min(self._walk_at, max(now + _QUIET_S, self._rested_at))
        before = self._held[path].event if path in self._held else ""
        if event == "deleted":
            self._held.pop(path, None)
        elif event in _WAIT_S and before in _ONLY_AFTER.get(event, {before}):
            self._held[path] = _Held(event, _state(path), now)

    def _walk(self, stopped: Callable[[], bool]) -> None:
        """Find what no event has told of, for a system drops events when there are many."""
        started = time.monotonic()
        found = False
        for path in expand_paths([], [self._folder]):
            if stopped():
                return
            state = _state(path)
            if state is None or state in self._known or path in self._held:
                continue
            if hash(path) in self._there:
                self._known.add(state)
            else:
                self._held[path] = _Held("found", state, time.monotonic())
                found = True
        self._there.clear()
        now = time.monotonic()
        self._rested_at = now + max(_REST_S, _REST_SHARE * (now - started))
        self._walk_at = self._rested_at if found else max(self._rested_at, now + _WALK_EVERY_S)

    def _whole(self) -> Iterator[Path]:
        """Yield what is held no longer."""
        now = time.monotonic()
        ripe = [path for path, held in self._held.items() if now - held.since >= _WAIT_S[held.event]]
        if any(self._held[path].event == "found" for path in ripe):  # events were lost, and some of closing, it may be
            for path, held in self._held.items():
                if held.event in ("opened", "modified"):
                    self._held[path] = _Held("found", held.state, now)
        for path in ripe:
            held, state = self._held.pop(path), _state(path)
            if state is None or state in self._known:
                continue
            if state == held.state:
                self._known.add(state)
                yield path
            else:
                self._held[path] = _Held(held.event, state, time.monotonic())


def _state(path: Path) -> int | None:
    """Return a hash of what tells a file from what it is once it was written anew; None is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # a listed name may be none that there can be
        return None
    return hash((path, status.st_mtime_ns, status.st_size)) if stat.S_ISREG(status.st_mode) else None


class _Handler(FileSystemEventHandler):
    def __init__(self, put: Callable[[tuple[str, Path]], None]) -> None:
        self._put = put

    def on_any_event(self, event: FileSystemEvent) -> None:
        moved = event.event_type == "moved"
        if not event.is_directory:
            self._tell("deleted" if moved else event.event_type, event.src_path)
            if moved:
                self._tell("moved", event.dest_path)
        elif moved or event.event_type == "created":
            self._put(("folder", Path(os.fsdecode(event.src_path))))

    def _tell(self, event: str, name: bytes | str) -> None:
        path = Path(os.fsdecode(name))
        if path.suffix.lower() in SUFFIXES:
            self._put((event, path))
