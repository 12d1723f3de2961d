"""Copies of the pictures of a scan, sorted by verdict."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Generator, Iterable
from itertools import count
from pathlib import Path

from .files import replacing
from .results import FileResult

SORTED = ("real", "fake", "uncertain")


def sort_copies(results: Iterable[FileResult], folder: Path) -> Generator[FileResult]:
    """Copy each picture with a face into folder/real, fake or uncertain, then pass its result on.

    A second picture of one name is called NAME-2; a copy that is there already is left as it is. Raises SourceError
    when a copy cannot be made.
    """
    for result in results:
        if result.verdict in SORTED and Path(result.path).is_file():  # it may be gone by now
            _copy(Path(result.path), folder / result.verdict)
        yield result


def _copy(source: Path, folder: Path) -> None:
    for number in count(1):
        target = folder / (source.name if number == 1 else f"{source.stem}-{number}{source.suffix}")
        if not target.exists():
            with replacing(target) as partial:
                shutil.copy2(source, partial)
            return
        if filecmp.cmp(source, target, shallow=False):
            return
