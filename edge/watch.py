"""Files that arrive in a folder, each as soon as it is whole."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from .errors import SourceError
from .scan import SUFFIXES

_LOOK_UP_S = 0.2
_SETTLED_S = 1.0  # where the system does not say that a file was closed: as long as it has not changed


class Arrivals:
    """What is written or moved into a folder, or below it, from now on."""

    def __init__(self, folder: Path) -> None:
        """Begin to watch; raises SourceError when the folder cannot be watched."""
        self._events: queue.SimpleQueue[tuple[Path, bool]] = queue.SimpleQueue()
        if not folder.is_dir():
            raise SourceError(f"cannot watch {folder}; wanted a folder")
        observer = Observer()
        try:
            observer.schedule(_Handler(self._events.put), str(folder), recursive=True)
            observer.start()
        except OSError as error:
            raise SourceError(f"cannot watch {folder}: {error.strerror or error}; wanted a folder") from error

    def after(self, present: Iterable[Path], stopped: Callable[[], bool]) -> Iterator[Path]:
        """Yield what is present, then each picture and video that arrives, once it is whole, until stopped.

        One that is written anew comes again.
        """
        known: set[int] = set()
        for path in present:
            known.add(_state(path))
            yield path
        changed_at: dict[Path, float] = {}
        while not stopped():
            try:
                path, whole = self._events.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                pass
            else:
                if path.suffix.lower() in SUFFIXES:
                    changed_at[path] = time.monotonic() - _SETTLED_S * whole
            now = time.monotonic()
            for path in [path for path, then in changed_at.items() if now - then >= _SETTLED_S]:
                del changed_at[path]
                state = _state(path)
                if path.is_file() and state not in known:
                    known.add(state)
                    yield path


def _state(path: Path) -> int:
    """Return a hash of what tells a file from what it is once it was written anew."""
    try:
        status = path.stat()
    except OSError:
        return hash(path)
    return hash((path, status.st_mtime_ns, status.st_size))


class _Handler(FileSystemEventHandler):
    def __init__(self, put: Callable[[tuple[Path, bool]], None]) -> None:
        self._put = put

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.is_directory:
            return
        if event.event_type == "moved":
            self._put((Path(str(event.dest_path)), True))
        elif event.event_type in ("created", "modified", "closed"):
            self._put((Path(str(event.src_path)), event.event_type == "closed"))
