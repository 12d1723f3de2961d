"""Which files are listed, what rows call them, and how far ahead they are fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="ray is not installed")

import pyarrow as pa

from facetell.edge.bundle import load_bundle
from facetell.edge.detector import Detector
from facetell.edge.errors import SourceError
from facetell.tools.cluster.diary import Diary
from facetell.tools.cluster.scan import Scanner
from facetell.tools.cluster.sources import FILE, File, Sources, cause, shown

NAMED = {
    "one below another": (["a/", "a/b/"], ["a/1.jpg", "a/b/2.jpg"]),
    "the same twice": (["a/", "a/"], ["a/1.jpg", "a/b/2.jpg"]),
    "the same twice, in two ways": (["a", "a/"], ["a/1.jpg", "a/b/2.jpg"]),
    "one that begins as another": (["a/b", "a/bc"], ["a/b/2.jpg", "a/bc/3.jpg"]),
    "an @ in the names": (["x@1/", "y@1/"], ["x@1/4.jpg", "y@1/5.jpg"]),
    "a space, written in two ways": (["a%20b/", "a b/c/"], ["a b/6.jpg", "a b/c/7.jpg"]),
    "a file": (["a/1.jpg"], ["a/1.jpg"]),
}


@pytest.mark.parametrize("name", NAMED)
def test_every_file_of_all_addresses_is_listed_once(name: str, tmp_path: Path) -> None:
    addresses, expected = NAMED[name]
    for file in ("a/1.jpg", "a/b/2.jpg", "a/bc/3.jpg", "x@1/4.jpg", "y@1/5.jpg", "a b/6.jpg", "a b/c/7.jpg"):
        if file in expected or name == "one that begins as another":
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
    sources = Sources(tuple(f"file://{tmp_path}/{address}" for address in addresses))
    listed = [sources.name(file) for file in sources.files(follow_links=False)]
    assert sorted(listed) == [f"file://{tmp_path}/{file}" for file in sorted(expected)]


def test_two_stores_that_rows_could_not_tell_apart_are_refused() -> None:
    with pytest.raises(SourceError, match="s3://photos/ and s3://photos/trip/ are of two stores"):
        Sources(("s3://photos/?endpoint_override=here", "s3://photos/trip/?endpoint_override=there"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://photos/", "s3://photos/"),
        ("s3://me:secret@photos/", "s3://photos/"),
        ("s3://me:sec/ret@photos/", "s3://photos/"),
        ("s3://photos/?secret=1", "s3://photos/"),
    ],
)
def test_no_secret_is_shown(address: str, expected: str) -> None:
    assert shown(address) == expected


@pytest.mark.parametrize("name", [b"caf\xe9.jpg", "caf\u00e9.jpg".encode(), rb"caf\xe9.jpg"])
def test_a_file_is_found_by_what_rows_call_it(name: bytes, tmp_path: Path) -> None:
    path = bytes(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).touch()
    sources = Sources((str(tmp_path),))
    (file,) = sources.files(follow_links=False)
    found = sources.named(sources.name(file))
    assert found
    assert found["path"] == path


def test_no_two_files_are_called_the_same(tmp_path: Path) -> None:
    for name in (b"\xe9.jpg", rb"\xe9.jpg", rb"\x5cxe9.jpg", b"\\\xe9.jpg"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).touch()
    sources = Sources((str(tmp_path),))
    assert len({sources.name(file) for file in sources.files(follow_links=False)}) == 4


def test_a_file_of_another_century_is_listed(tmp_path: Path) -> None:
    (tmp_path / "late.jpg").touch()
    os.utime(tmp_path / "late.jpg", ns=(0, 13_569_465_600 * 10**9))  # in 2400
    files = list(Sources((str(tmp_path),)).files(follow_links=False))
    assert pa.array(files, FILE)[0]["modified_us"].as_py() == (tmp_path / "late.jpg").stat().st_mtime_ns // 1000


def test_a_store_that_refuses_gives_one_reason_for_all_files() -> None:
    for key in ("trip/a.jpg", "a"):
        file: File = {"path": f"photos/{key}".encode(), "source": 0, "size_bytes": 1, "modified_us": None}
        assert cause(OSError(f"no rights to key '{key}' in 'photos'"), file) == "no rights to key '...' in 'photos'"


FILE_BYTES = 8 << 20


def test_what_is_fetched_ahead_fits_into_memory(tmp_path: Path) -> None:
    for number in range(10):
        with (tmp_path / f"{number}.jpg").open("wb") as file:
            file.truncate(FILE_BYTES)
    sources, ahead = Counting((f"file://{tmp_path}",)), []

    class Watching(Diary):
        def each(self, items: Any) -> Iterator[Any]:
            for number, item in enumerate(super().each(items)):
                ahead.append(sources.begun - number)
                yield item

    scanner = Scanner(partial(Detector, load_bundle()), sources, 5.0)
    files = pa.array(list(sources.files(follow_links=False)), FILE)
    with Watching("test", 0, len(files)) as diary:
        rows = scanner(files, diary).to_pylist()
    assert [row["verdict"] for row in rows] == ["error"] * 10
    assert 1 < max(ahead) <= (32 << 20) // FILE_BYTES + 1  # what is looked at, and what waits


class Counting(Sources):
    """Sources that count how many files were begun to be read."""

    begun = 0

    def content(self, file: File) -> bytes | None:
        self.begun += 1
        return super().content(file)
