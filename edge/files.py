"""Writing files so that each is there whole or not at all, and no folder over another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DatasetError, SourceError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside path that becomes path when the block ends well, and is removed when it fails.

    Raises SourceError when the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror or error}; choose another place with -o") from error
    finally:
        with suppress(OSError):  # where it cannot be written it cannot be removed either
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file, creating its folder; raises SourceError when that is not possible."""
    with replacing(path) as partial:
        partial.write_bytes(text.encode("utf-8", "surrogateescape"))  # a file name need not be UTF-8


def claim_folder(folder: Path, marker: str, content: str, beside: tuple[str, ...] = ()) -> None:
    """Make an empty or new folder ours by writing content into folder/marker, or see that it is ours already.

    Names in beside may stand in it already. Raises DatasetError when the folder holds something else, or was claimed
    with other content.
    """
    try:
        claimed = (folder / marker).read_bytes()
    except FileNotFoundError:
        if folder.is_dir() and any(path.name not in beside for path in folder.iterdir()):
            raise DatasetError(f"{folder} exists and holds something else; choose another folder with -o") from None
        write_text(folder / marker, content)
    except OSError as error:
        raise DatasetError(f"{folder} is not a folder that can be used; choose another with -o") from error
    else:
        if claimed != content.encode():
            raise DatasetError(
                f"{folder} holds work of this kind with other inputs or settings; choose another folder with -o"
            )
