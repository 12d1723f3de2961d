"""Raw data sets as people have them: folders and zip archives, read without unpacking anything to disk."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Protocol

from ..edge.errors import DatasetError

LABEL_FOLDERS = {
    **dict.fromkeys(("real", "reals", "training_real", "train_real", "test_real", "original", "genuine"), "real"),
    **dict.fromkeys(("fake", "fakes", "training_fake", "train_fake", "test_fake", "deepfake", "manipulated"), "fake"),
}
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "validate"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Folder names, in lower case, that state what is in them."""

MAX_FILES = 5_000_000
MAX_FILE_BYTES = 256 * 2**20
MAX_RATIO = 200
"""Unpacked to packed bytes of one member: a picture hardly packs at all; zip bombs reach thousands."""

_RATIO_FREE_BYTES = 2**20  # small text files pack very well, and do no harm

_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError)


class Source(Protocol):
    """A raw data set: relative names, and the bytes behind each."""

    @property
    def name(self) -> str:
        """What the data set is called in manifests."""
        ...

    @property
    def root_name(self) -> str:
        """What the folder or archive itself is called, which may state a label or a split."""
        ...

    def names(self) -> list[PurePosixPath]:
        """Return the relative names of all files, sorted."""
        ...

    def read(self, name: PurePosixPath) -> bytes:
        """Return one file's bytes; raises OSError when it cannot be read."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """A folder; links inside it are not followed."""

    name: str
    root: Path

    @property
    def root_name(self) -> str:
        """The folder's own name."""
        return self.root.resolve().name

    def names(self) -> list[PurePosixPath]:
        """Return the relative names of all regular files, sorted; raises DatasetError when a folder is barred."""
        try:
            return sorted(PurePosixPath(path.relative_to(self.root).as_posix()) for path in _walk(self.root))
        except OSError as error:
            raise DatasetError(f"{error.filename} cannot be listed: {error.strerror}") from error

    def read(self, name: PurePosixPath) -> bytes:
        """Return one file's bytes."""
        path = self.root / name
        if path.is_symlink() or not path.is_file():  # a manifest may name anything
            raise OSError("no regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise OSError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
        return path.read_bytes()


class ZipSource:
    """A zip archive, checked as a whole before anything in it is read."""

    def __init__(self, name: str, path: Path) -> None:
        """Open an archive; raises DatasetError when it is none, or holds what an honest data set does not."""
        self.name, self.root_name = name, path.stem
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, *_DAMAGE) as error:
            raise DatasetError(f"{path} is not a readable zip archive: {error}") from error
        members = [member for member in self._archive.infolist() if not member.is_dir()]
        if len(members) > MAX_FILES:
            raise DatasetError(f"{path} holds {len(members)} files, more than {MAX_FILES}; refused")
        for member in members:
            if reason := _dangerous(member):
                raise DatasetError(f"{path} is refused: {member.filename!r} {reason}; unpack and check it yourself")
        self._members = {PurePosixPath(member.filename): member for member in members}

    def names(self) -> list[PurePosixPath]:
        """Return the relative names of all files, sorted."""
        return sorted(self._members)

    def read(self, name: PurePosixPath) -> bytes:
        """Return one file's bytes, never more than its directory entry states."""
        member = self._members[name]
        try:
            with self._archive.open(member) as file:
                return file.read(member.file_size)
        except _DAMAGE as error:
            raise OSError(f"damaged in the archive: {error}") from error


def open_sources(paths: Sequence[Path]) -> list[Source]:
    """Open folders and zip archives as raw data sets, each under a name of its own.

    A folder called real, fake, train and the like is part of the data set that its parent is. Two data sets of the same
    name get their parents' in front, and a number where that is not enough.

    Raises DatasetError when a path is neither a folder nor a zip.
    """
    names = _names([_origin(path) for path in paths])
    sources: list[Source] = []
    for path in paths:
        if path.is_dir():
            sources.append(FolderSource(names[_origin(path)], path))
        elif path.is_file():
            sources.append(ZipSource(names[_origin(path)], path))
        else:
            raise DatasetError(f"{path} does not exist; wanted a folder or a zip archive with real and fake pictures")
    return sources


def _origin(path: Path) -> Path:
    """Return the folder or archive that makes up the whole data set."""
    path = path.resolve()
    while path.is_dir() and path.name.lower() in LABEL_FOLDERS | SPLIT_FOLDERS and path.parent != path:
        path = path.parent
    return path


def _names(origins: Sequence[Path]) -> dict[Path, str]:
    plain = {origin: origin.stem if origin.suffix.lower() == ".zip" else origin.name for origin in origins}
    sharing = Counter(plain.values())
    names: dict[Path, str] = {}
    for origin, name in plain.items():
        name = f"{origin.parent.name}-{name}" if sharing[name] > 1 else name
        numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
        names[origin] = next(free for free in numbered if free not in names.values())
    return names


def fetch_kaggle(handle: str) -> FolderSource:
    """Download a Kaggle data set, or take it from kagglehub's cache, as a raw data set.

    Raises DatasetError when Kaggle does not give it out: a wrong OWNER/NAME, no network, or no account where one is
    needed (see kagglehub's own words in the message).
    """
    import kagglehub

    try:
        folder = kagglehub.dataset_download(handle)
    except Exception as error:  # kagglehub passes on whatever requests raises
        raise DatasetError(f"Kaggle's {handle!r} cannot be fetched (wanted OWNER/NAME): {error}") from error
    return FolderSource(handle.rpartition("/")[2], Path(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path


def _dangerous(member: zipfile.ZipInfo) -> str | None:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    if not parts:
        return "has no name"
    if ".." in parts or parts[0] == "/" or ":" in parts[0]:
        return "points outside the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.file_size > MAX_FILE_BYTES:
        return f"unpacks to more than {MAX_FILE_BYTES >> 20} MiB"
    if member.file_size > max(_RATIO_FREE_BYTES, MAX_RATIO * member.compress_size):
        return f"unpacks to {member.file_size} bytes from {member.compress_size}, like a zip bomb"
    return None
