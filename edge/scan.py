"""Which files a scan is of, and their results one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from .errors import SourceError
from .images import SUFFIXES


def expand_paths(named: Iterable[Path], listed: Iterable[Path] = ()) -> Iterator[Path]:
    """Return the files named, and in the order of their names all pictures in the folders named and below them.

    What is listed, in a file say, follows likewise; a listed path that is gone is passed on, to be reported.

    Links to folders are not followed. A file that is named is taken whatever its ending, for its content decides; so is
    a folder that cannot be listed, to be reported.

    Raises SourceError at once when a named path does not exist.
    """
    named = list(named)
    for path in named:
        if not path.exists():
            raise SourceError(f"{path} does not exist; wanted pictures or folders of them")
    return (found for path in chain(named, listed) for found in (_pictures_below(path) if path.is_dir() else [path]))


def _pictures_below(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError:  # a folder that can be listed but not entered
            yield entry
            continue
        if is_folder:
            if not entry.is_symlink():
                yield from _pictures_below(entry)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry
