"""Copies of the pictures of a scan, sorted by verdict."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Generator, Iterable
from itertools import count
from pathlib import Path

from .errors import SourceError
from .files import replacing
from .results import FileResult

SORTED = ("real", "fake", "uncertain")


def sort_copies(results: Iterable[FileResult], folder: Path) -> Generator[FileResult]:
    """Copy each picture with a face into folder/real, fake or uncertain, then pass its result on.

    A second picture of one name is called NAME-2; a copy that is there already is left as it is. Raises SourceError
    when a copy cannot be made.
    """
    for result in results:
        source = Path(result.path)
        if result.verdict in SORTED:
            try:
                _copy(source, folder / result.verdict)
            except (OSError, SourceError):
                if _can_be_read(source):  # it may be gone by now, or its disk
                    raise
        yield result


def _can_be_read(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def _copy(source: Path, folder: Path) -> None:
    for number in count(1):
        target = folder / (source.name if number == 1 else f"{source.stem}-{number}{source.suffix}")
        if not target.exists():
            with replacing(target) as partial:
                shutil.copy2(source, partial)
            return
        if filecmp.cmp(source, target, shallow=False):
            return
