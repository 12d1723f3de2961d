"""What a picture file is made of, counted before it is decoded: each piece is work, and hostile files have millions.

The limits are far above what cameras, scanners and editors write, and low enough for every file to be done with within
seconds; tests and fuzzing hold that.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ImageError

MAX_SCANS = 200  # of a JPEG, which has about ten
MAX_SCANNED_MEGAPIXELS = 3000.0  # scans times pixels: each scan is work over all of them

_MAX_SEGMENTS = 2_000  # of a JPEG
_MAX_METADATA_BYTES = 32 * 2**20  # in them
_MAX_CHUNKS = 100_000  # of a PNG: its pixels come in pieces of 8 kB
_MAX_BLOCKS = 500_000  # of a GIF, of 255 bytes
_MAX_STRIPS = 100_000  # of a TIFF
_MAX_TAGS = 4_096

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_SOI, _SOS, _EOI = 0xD8, 0xDA, 0xD9
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_BETWEEN_SCANS = {0xC4, _SOS, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_STRIP_TAGS = (273, 279, 324, 325)  # offsets and sizes of strips, and of tiles
_TILE_SIDE_TAGS = (322, 323)
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of a TIFF's types


@dataclass(frozen=True)
class Jpeg:
    """What a JPEG is made of, from its first marker to its end."""

    scans: int
    is_orderly: bool
    """It ends, and between its scans stands nothing but what belongs there."""


def check_structure(content: bytes, max_megapixels: float) -> Jpeg | None:
    """Return what a JPEG is made of, None for any other file; raises ImageError for a file of too many pieces."""
    if content.startswith(b"\xff\xd8"):
        return _read_jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_count(_png_chunks(content), _MAX_CHUNKS, "chunks of a PNG")
    elif content.startswith((b"GIF87a", b"GIF89a")):
        _check_count(_gif_blocks(content), _MAX_BLOCKS, "blocks of a GIF")
    elif content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        _check_tiff(content, max_megapixels)
    return None


def _read_jpeg(content: bytes) -> Jpeg:
    scans, segments, metadata, at = 0, 0, 0, 0
    is_progressive, is_orderly = False, True
    while match := _MARKER.search(content, at):
        marker, at = match[0][1], match.end()
        if marker == _EOI:
            return Jpeg(scans, is_orderly)
        segments += 1
        if segments > _MAX_SEGMENTS:
            raise ImageError(f"more than {_MAX_SEGMENTS} segments of a JPEG")
        if scans:  # in a baseline picture's one scan no marker stands at all
            is_orderly = is_orderly and is_progressive and marker in _BETWEEN_SCANS
        is_progressive = is_progressive or marker in _PROGRESSIVE
        scans += marker == _SOS
        if marker != _SOI:  # the others say how long they are
            length = int.from_bytes(content[at : at + 2], "big")
            metadata += length if marker >= 0xE0 else 0
            at += length
        if metadata > _MAX_METADATA_BYTES:
            raise ImageError(f"more than {_MAX_METADATA_BYTES >> 20} MiB beside the pixels of a JPEG")
    return Jpeg(scans, is_orderly=False)


def _check_count(pieces: Iterator[None], limit: int, what: str) -> None:
    for count, _ in enumerate(pieces, start=1):
        if count > limit:
            raise ImageError(f"more than {limit} {what}")


def _png_chunks(content: bytes) -> Iterator[None]:
    at = 8
    while at < len(content) and content[at + 4 : at + 8] != b"IEND":
        yield
        at += 12 + int.from_bytes(content[at : at + 4], "big")


def _gif_blocks(content: bytes) -> Iterator[None]:
    """Yield for each piece of data up to the first picture's: what is before it is read one by one."""
    at = 13 + _table_bytes(content[10:11])
    while content[at : at + 1] == b"!":
        at += 2
        while at < len(content) and content[at]:
            yield
            at += 1 + content[at]
        at += 1
        yield


def _table_bytes(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _check_tiff(content: bytes, max_megapixels: float) -> None:
    order = "<" if content.startswith(b"II") else ">"
    big = content[2] + content[3] == 43
    (at,) = struct.unpack_from(f"{order}Q", content, 8) if big else struct.unpack_from(f"{order}I", content, 4)
    (tags,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", content, at)
    if tags > _MAX_TAGS:
        raise ImageError(f"more than {_MAX_TAGS} tags of a TIFF")
    at += 8 if big else 2
    sides = []
    for _ in range(tags):
        tag, kind, count = struct.unpack_from(f"{order}HHQ" if big else f"{order}HHI", content, at)
        if tag in _STRIP_TAGS and count > _MAX_STRIPS:
            raise ImageError(f"more than {_MAX_STRIPS} strips of a TIFF")
        if tag in _TILE_SIDE_TAGS and kind in _NUMBERS:
            sides += struct.unpack_from(order + _NUMBERS[kind], content, at + (12 if big else 8))
        at += 20 if big else 12
    if len(sides) > 1 and sides[0] * sides[1] > max_megapixels * 1e6:
        raise ImageError(f"tiles of {sides[0]} x {sides[1]} pixels are more than the limit")
