"""Writing files so that each is there whole or not at all, and no folder over another."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from .errors import DatasetError, SourceError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NAME_BYTES = 200


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside path that becomes path when the block ends well, and is removed when it fails.

    Raises SourceError when the folder cannot be written.
    """
    name = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])  # there is room for more before it and behind it
    partial = path.with_name(f".{name}.{os.getpid()}.partial")
    with _writable(path):
        try:
            yield partial
            partial.replace(path)
        finally:
            with suppress(OSError):  # where it cannot be written it cannot be removed either
                partial.unlink(missing_ok=True)


def unused(path: Path) -> Path:
    """Return path, or where that exists NAME-2, NAME-3, ... beside it."""
    names = (path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))
    return next(name for name in names if not name.exists())


def check_writable(path: Path) -> None:
    """Raise SourceError when a new file cannot be made there, so that it is told before the work and not after it."""
    with suppress(_Tried), replacing(path) as partial:
        partial.touch()
        raise _Tried


class _Tried(Exception):
    """Keeps a file that was only tried from taking its name."""


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder whose content becomes that of path, new or empty, when the block ends well.

    Raises SourceError when path cannot be written, or is not empty at the end.
    """
    path = path.resolve()
    with _writable(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        partial = Path(folder) / path.name
        partial.mkdir()
        yield partial
        if not path.exists():
            partial.rename(path)
        elif any(path.iterdir()):
            raise SourceError(f"{path} is not empty any more; choose another place with -o")
        else:  # not replaced: it may be where somebody stands, or where a disk is mounted
            for child in partial.iterdir():
                child.rename(path / child.name)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Make the folders above path, and take them away again when the block fails."""
    missing: list[Path] = []
    try:
        missing = [folder for folder in path.absolute().parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise SourceError(f"cannot write {path}: {reason}; choose another place") from error
        raise


class GrowingFile(io.RawIOBase):
    """A new file, or one to be gone on with, that holds every piece written so far whole, whatever ends the program."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet: the file and the folders above it are made with the first piece."""
        self._path = path
        self._file: io.FileIO | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, content: Any, /) -> int:
        """Append bytes; raises SourceError, with none of them in the file, when they do not go in."""
        content = bytes(content)
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = io.FileIO(self._path, "a")
                lock(self._file)
            before_bytes, written = self._file.seek(0, os.SEEK_END), 0
            try:
                while written < len(content):
                    written += self._file.write(content[written:]) or 0
            except OSError:
                self._file.truncate(before_bytes)
                raise
        except OSError as error:
            kept = "what was written before is kept" if self._file else "choose another place with -o"
            if isinstance(error, BlockingIOError):
                raise SourceError(f"{self._path} is being written by another scan; choose another with -o") from error
            raise SourceError(f"cannot write {self._path}: {error.strerror or error}; {kept}") from error
        return len(content)

    def close(self) -> None:
        """Close the file, if anything was written."""
        if self._file is not None:
            self._file.close()
        super().close()


def lock(file: io.FileIO) -> None:
    """Raise BlockingIOError when another process writes a file; where files cannot be locked, nobody knows."""
    if fcntl:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file, creating its folder; raises SourceError when that is not possible."""
    with replacing(path) as partial:
        partial.write_bytes(text.encode("utf-8", "surrogateescape"))  # a file name need not be UTF-8


def claim_folder(folder: Path, marker: str, inputs: Mapping[str, Any], beside: tuple[str, ...] = ()) -> None:
    """Make an empty or new folder ours by writing inputs as JSON into folder/marker, or see that it is ours already.

    Names in beside may stand in it already. Raises DatasetError when the folder holds something else, or was claimed
    with other inputs, which it names.
    """
    text = json.dumps(inputs, indent=2) + "\n"
    try:
        claimed = json.loads((folder / marker).read_bytes())
    except FileNotFoundError:
        if folder.is_dir() and any(path.name not in beside for path in folder.iterdir()):
            raise DatasetError(f"{folder} exists and holds something else; choose another folder with -o") from None
        write_text(folder / marker, text)
    except OSError as error:
        raise DatasetError(f"{folder} is not a folder that can be used; choose another with -o") from error
    except ValueError as error:
        raise DatasetError(f"{folder / marker} is damaged; choose another folder with -o, or delete it") from error
    else:
        then, now = _flat(claimed), _flat(json.loads(text))
        changed = [name for name in now | then if then.get(name) != now.get(name)]
        if changed:
            differences = ", ".join(f"{name} was {then.get(name)}, is {now.get(name)}" for name in changed)
            raise DatasetError(f"{folder} holds other work ({differences}); choose another folder with -o")


def check_ours(folder: Path, marker: str, names: Collection[str]) -> None:
    """Raise DatasetError when a folder holds anything but the file marker and files of these names beside it.

    A new or empty folder is ours. Raises SourceError when no file can be written there.
    """
    found = list(folder.iterdir()) if folder.is_dir() else []
    is_ours = all(path.is_file() and path.name in (marker, *names) for path in found)
    if not is_ours or (found and not (folder / marker).exists()) or (folder.exists() and not folder.is_dir()):
        raise DatasetError(f"{folder} exists and holds something else; choose another folder with -o")
    check_writable(folder / marker)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return {"a b": 1} for {"a": {"b": 1}}."""
    if not isinstance(value, dict):
        return {name: value}
    parts = (_flat(below, f"{name} {key}".strip()) for key, below in value.items())
    return {name: leaf for part in parts for name, leaf in part.items()}
