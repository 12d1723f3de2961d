"""Where the files of a scan on a cluster are: in folders that all nodes see, on S3 or on Google Cloud Storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from posixpath import splitext
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem, copy_files

from ...edge.errors import SourceError
from ...edge.scan import SUFFIXES, expand_paths

FILE = pa.struct(
    [
        ("path", pa.binary()),  # a file name need not be UTF-8
        ("source", pa.int32()),
        ("size_bytes", pa.int64()),
        ("modified_ns", pa.int64()),
    ]
)
"""A file as it was listed: its path within one of the sources, or, with source LOCAL, on every node."""

LOCAL = -1

_OF_ADDRESSES = ":/?#[]@!$&'()*+,;=%~"  # what stands for itself; a space, say, does not

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
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{shown(address)} is no address that is known: {error}") from error


def shown(address: str) -> str:
    """Return a path, an address without what may be secret: what is before an @ or behind a question mark."""
    if not is_remote(address):
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


class Sources:
    """Files, folders and patterns that all nodes see, and addresses."""

    def __init__(self, named: tuple[str, ...]) -> None:
        """Take them as they were named."""
        self._paths = [Path(name) for name in named if not is_remote(name)]
        self._addresses = [name for name in named if is_remote(name)]

    def files(self, *, follow_links: bool) -> Iterator[File]:
        """Yield what edge.scan.expand_paths gives, then the pictures and videos at each address, a folder at a time.

        Raises SourceError where something named does not exist.
        """
        if self._paths:
            yield from map(_on_every_node, expand_paths(self._paths, follow_links=follow_links))
        for number, address in enumerate(self._addresses):
            for info in _below(address):
                modified_ns = None if info.mtime_ns is None else int(info.mtime_ns)
                path = info.path.encode()
                yield {"path": path, "source": number, "size_bytes": info.size, "modified_ns": modified_ns}

    def name(self, file: File) -> str:
        """Return what results call a file; bytes that are no UTF-8 are escaped."""
        name = file["path"].decode(errors="backslashreplace")
        return name if file["source"] == LOCAL else f"{self._scheme(file['source'])}://{name}"

    def fetch(self, file: File, folder: Path) -> Path:
        """Return where a file can be opened: a copy in a folder, if it is far away; raises OSError where it is gone."""
        if file["source"] == LOCAL:
            return Path(os.fsdecode(file["path"]))
        path = file["path"].decode()
        copy = folder / f"copy{splitext(path)[1]}"
        folder.mkdir()
        store, _ = file_system(self._addresses[file["source"]])
        copy_files(path, str(copy), source_filesystem=store, destination_filesystem=LocalFileSystem())
        return copy

    def named(self, name: str) -> File | None:
        """Return the file that results call so, size and time unknown; None where it is of none of the addresses."""
        unknown = {"size_bytes": None, "modified_ns": None}
        if not is_remote(name):
            return {"path": os.fsencode(name), "source": LOCAL} | unknown
        path = name.partition("://")[2]
        for number, address in enumerate(self._addresses):
            if name.startswith(shown(address)):
                return {"path": path.encode(), "source": number} | unknown
        return None

    def _scheme(self, number: int) -> str:
        return self._addresses[number].partition("://")[0]


def _on_every_node(path: Path) -> File:
    file: File = {"path": os.fsencode(path), "source": LOCAL, "size_bytes": None, "modified_ns": None}
    try:
        status = path.stat()
    except OSError:  # it is passed on, to be reported
        return file
    return file | {"size_bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _below(address: str) -> Iterator[FileInfo]:
    files, path = file_system(address)
    try:
        named = files.get_file_info(path)
        if named.type == FileType.File:
            yield named
            return
        waiting = [path]
        while waiting:
            found = sorted(files.get_file_info(FileSelector(waiting.pop())), key=lambda info: info.path)
            yield from (info for info in found if info.is_file and splitext(info.path)[1].lower() in SUFFIXES)
            waiting += [info.path for info in reversed(found) if info.type == FileType.Directory]
    except OSError as error:
        raise SourceError(f"{shown(address)} cannot be listed: {error}") from error
