"""Where the files of a scan on a cluster are: in folders that all nodes see, on S3 or on Google Cloud Storage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from posixpath import splitext
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem, copy_files

from ...edge.errors import ImageError, SourceError
from ...edge.images import MAX_FILE_BYTES
from ...edge.scan import SUFFIXES, expand_paths
from ...edge.video import SUFFIXES as VIDEOS

FILE = pa.struct(
    [
        ("path", pa.binary()),  # a file name need not be UTF-8
        ("source", pa.int32()),
        ("size_bytes", pa.int64()),
        ("modified_us", pa.int64()),
    ]
)
"""A file as it was listed: its path within one of the sources, or, with source LOCAL, on every node."""

LOCAL = -1
_NAMELESS = b"//"
_FOLDERS_AHEAD = 16  # a store lists a thousand names in some 100 ms

_BACKSLASH = rb"\x5c"  # one before an x, or names could be taken for one another
_ESCAPED = re.compile(rb"\\x(5c|[89a-f][0-9a-f])")
_OF_ADDRESSES = ":/?[]@!$&'()*+,;=%~"  # what stands for itself; a space, say, does not

File = dict[str, Any]
"""A FILE in Python."""


def is_remote(path: str) -> bool:
    """Return whether a path is an address such as s3://bucket/folder."""
    return "://" in path


@cache
def file_system(address: str) -> tuple[FileSystem, str]:
    """Return the file system of an address, and the path within it; raises SourceError where there is none."""
    try:
        return FileSystem.from_uri(quote(address, safe=_OF_ADDRESSES))
    except OSError as error:
        raise SourceError(f"{shown(address)} cannot be reached: {cause(error)}") from error
    except (pa.ArrowException, ValueError) as error:
        wanted = "s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
        raise SourceError(f"{shown(address)} is no address that is known; wanted {wanted}") from error


def shown(address: str) -> str:
    """Return a path, an address without what may be secret: all before the last @ or behind a question mark."""
    if not is_remote(address):
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def cause(error: Exception, file: File | None = None) -> str:
    """Return in words why the system, or a store, refused; without a file's name, so that reasons can be counted."""
    if number := getattr(error, "errno", None):
        return os.strerror(number)
    key_of_store = file["path"].decode(errors="replace").partition("/")[2] if file else ""
    return str(error).replace(f"'{key_of_store}'", "'...'")


class Sources:
    """Files, folders and patterns that all nodes see, and addresses; where they were named from."""

    def __init__(self, named: tuple[str, ...]) -> None:
        """Take them as they were named; an address below another is left out.

        Raises SourceError where rows could not tell the files of two addresses apart.
        """
        self._paths = [Path(name) for name in named if not is_remote(name)]
        self._addresses = _outermost([name for name in named if is_remote(name)])
        self._here = Path.cwd()

    def enter(self) -> None:
        """Stand where the paths were named, on whatever node; raises SourceError where that is not there but needed."""
        try:
            os.chdir(self._here)
        except OSError as error:
            if not all(path.is_absolute() for path in self._paths):
                raise SourceError(f"a node does not have {self._here}; name what all nodes see") from error

    def check(self) -> None:
        """Raise SourceError where a path does not exist here, nor matches anything."""
        expand_paths(self._paths)

    def files(self, *, follow_links: bool) -> Iterator[File]:
        """Yield what edge.scan.expand_paths gives, then the pictures and videos at each address, a folder at a time.

        Raises SourceError where something named does not exist.
        """
        self.enter()
        if self._paths:
            yield from map(_on_every_node, expand_paths(self._paths, follow_links=follow_links))
        for number, address in enumerate(self._addresses):
            for info in _below(address):
                modified_us = None if info.mtime_ns is None else info.mtime_ns // 1000
                path = info.path.encode() + (_NAMELESS if info.type == FileType.Directory else b"")
                yield {"path": path, "source": number, "size_bytes": info.size, "modified_us": modified_us}

    def name(self, file: File) -> str:
        r"""Return what results call a file; bytes that are no UTF-8 are escaped, and so is the backslash of \x."""
        name = file["path"].replace(rb"\x", _BACKSLASH + b"x").decode(errors="backslashreplace")
        return name if file["source"] == LOCAL else f"{self._addresses[file['source']].partition('://')[0]}://{name}"

    def path(self, file: File) -> Path:
        """Return the path of a file, within its source."""
        return Path(os.fsdecode(file["path"]))

    def is_video(self, file: File) -> bool:
        """Return whether a file's ending is a video's."""
        return self.path(file).suffix.lower() in VIDEOS

    def content(self, file: File) -> bytes | None:
        """Return what is in a picture that is far away, and None of a file that is not, and of a video.

        Raises OSError or ArrowException when it cannot be fetched, and ImageError for one that is too large.
        """
        if file["source"] == LOCAL or self.is_video(file):
            return None
        if file["path"].endswith(_NAMELESS):
            raise ImageError("a folder without a name: nothing in it is looked at")
        if (file["size_bytes"] or 0) > MAX_FILE_BYTES:
            raise ImageError(f"a file of more than {MAX_FILE_BYTES >> 20} MiB")
        store, _ = file_system(self._addresses[file["source"]])
        with store.open_input_stream(file["path"].decode()) as stream:
            return stream.read(MAX_FILE_BYTES)

    def copy(self, file: File, folder: Path) -> Path:
        """Copy a file that is far away into a folder; raises OSError or ArrowException when that is not possible."""
        store, _ = file_system(self._addresses[file["source"]])
        path = file["path"].decode()
        here = folder / f"copy{splitext(path)[1]}"
        copy_files(path, str(here), source_filesystem=store, destination_filesystem=LocalFileSystem())
        return here

    def named(self, name: str) -> File | None:
        """Return the file that results call so, size and time unknown; None where it is of none of the addresses."""
        unknown = {"size_bytes": None, "modified_us": None}
        if not is_remote(name):
            return {"path": _unescaped(name), "source": LOCAL} | unknown
        scheme, _, path = name.partition("://")
        for number, address in enumerate(self._addresses):
            above = file_system(address)[1].rstrip("/")
            if address.startswith(f"{scheme}://") and (path == above or path.startswith(f"{above}/")):
                return {"path": _unescaped(path), "source": number} | unknown
        return None


def _outermost(addresses: list[str]) -> list[str]:
    kept: dict[str, str] = {}
    for address in sorted(addresses, key=_place):
        place = _place(address)
        above = next((other for other in kept if place.startswith(other)), None)
        if above is None:
            kept[place] = address
        elif _server(address) != _server(kept[above]):
            both = f"{shown(kept[above])} and {shown(address)}"
            raise SourceError(f"{both} are of two stores, and rows could not tell them apart; scan one after another")
    return list(kept.values())


def _place(address: str) -> str:
    """Return what rows call the folder of an address."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("?")[0].partition("/")
    return unquote(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}").rstrip("/") + "/"


def _server(address: str) -> str | None:
    return dict(parse_qsl(address.partition("?")[2])).get("endpoint_override")


def _unescaped(name: str) -> bytes:
    return _ESCAPED.sub(lambda byte: bytes([int(byte[1], 16)]), os.fsencode(name))


def _on_every_node(path: Path) -> File:
    file: File = {"path": os.fsencode(path), "source": LOCAL, "size_bytes": None, "modified_us": None}
    try:
        status = path.stat()
    except OSError:  # it is passed on, to be reported
        return file
    return file | {"size_bytes": status.st_size, "modified_us": status.st_mtime_ns // 1000}


def _below(address: str) -> Iterator[FileInfo]:
    """Yield the pictures and videos below an address, or the file that it is of."""
    store, path = file_system(address)
    try:
        named = store.get_file_info(path)
        if named.type == FileType.File:
            yield named
        else:
            with ThreadPoolExecutor(_FOLDERS_AHEAD, "list") as pool:
                yield from _walk(store, [path], pool)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{shown(address)} cannot be listed: {cause(error)}") from error


def _walk(store: FileSystem, folders: list[str], pool: ThreadPoolExecutor) -> Iterator[FileInfo]:
    """Yield what is looked at in folders and below, in order; some folders are listed ahead."""
    for start in range(0, len(folders), _FOLDERS_AHEAD):
        some = folders[start : start + _FOLDERS_AHEAD]
        for folder, found in zip(some, pool.map(store.get_file_info, map(FileSelector, some)), strict=True):
            below = []
            for info in sorted(found, key=lambda info: info.path):
                # Of an empty name, between two slashes, pyarrow gives the folder itself: it is passed on, to be told.
                is_itself = info.path.strip("/") == folder.strip("/")
                if is_itself or (info.is_file and splitext(info.path)[1].lower() in SUFFIXES):
                    yield info
                elif info.type == FileType.Directory:
                    below.append(info.path)
            yield from _walk(store, below, pool)
