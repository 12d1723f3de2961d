"""Files of too many pieces: refused before a decoder goes through them one by one. Sound files are never refused."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from facetell.edge.errors import ImageError
from facetell.edge.images import Picture, read_image

from ..pictures import encoded, four_colours

JPEG, PNG, GIF, TIFF = (encoded(four_colours(), name) for name in ("JPEG", "PNG", "GIF", "TIFF"))
GIF_HEAD = 13 + 3 * 2 ** ((GIF[10] & 7) + 1)


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def segments(count: int, data: bytes = b"") -> bytes:
    return JPEG[:2] + (b"\xff\xe1" + struct.pack(">H", 2 + len(data)) + data) * count + JPEG[2:]


def tiff(tags: dict[int, tuple[int, int, int]], big: bool = False) -> bytes:
    """Return a 64 x 64 TIFF of one byte a pixel with more tags: number -> type, count, value."""
    all_tags = {256: (4, 1, 64), 257: (4, 1, 64), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)} | tags
    entry = "<HHQQ" if big else "<HHII"
    entries = b"".join(struct.pack(entry, tag, *all_tags[tag]) for tag in sorted(all_tags))
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHI", b"II", 42, 8)
    count = struct.pack("<Q" if big else "<H", len(all_tags))
    return head + count + entries + bytes(8) + bytes(64 * 64)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "2 MB of EXIF segments": lambda: segments(100_000, b"Exif\0\0" + b"x" * 10),
    "20 MB of empty segments": lambda: segments(5_000_000),
    "64 MB of comments": lambda: segments(1_000, bytes(65_000)),
    "24 MB of PNG chunks": lambda: PNG[:33] + chunk(b"prVt") * 2_000_000 + PNG[33:],
    "4 MB of GIF comments": lambda: GIF[:GIF_HEAD] + b"!\xfe" + b"\1x" * 2_000_000 + b"\0" + GIF[GIF_HEAD:],
    "24 MB of GIF extensions": lambda: GIF[:GIF_HEAD] + b"!\1\0" * 8_000_000 + GIF[GIF_HEAD:],
    "a TIFF of 2 million strips": lambda: tiff({273: (4, 2_000_000, 0), 279: (4, 2_000_000, 0)}),
    "a BigTIFF of 2 million strips": lambda: tiff({273: (4, 2_000_000, 0), 279: (4, 2_000_000, 0)}, big=True),
    "a TIFF of one huge tile": lambda: tiff(
        {322: (4, 1, 23_000), 323: (4, 1, 23_000), 324: (4, 1, 200), 325: (4, 1, 1)}
    ),
    "a TIFF that ends in its tags": lambda: TIFF[:12],
    "a TIFF whose tags are far away": lambda: b"II*\0\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_of_too_many_pieces_is_refused_at_once(name: str) -> None:
    content = HOSTILE[name]()
    started = time.process_time()
    with pytest.raises(ImageError):
        Picture(content)
    assert time.process_time() - started < 2  # they took Pillow from 10 seconds to minutes


def test_scans_are_limited_by_what_they_are_work_over() -> None:
    content = encoded(four_colours(), "JPEG", progressive=True)
    first = content.index(b"\xff\xda")
    scan = content[first : content.index(b"\xff\xda", first + 2)]
    size = content.index(b"\xff\xc2") + 5
    many = content[:-2] + scan * 100 + content[-2:]
    huge = many[:size] + struct.pack(">HH", 8_000, 8_000) + many[size + 4 :]
    assert read_image(many).shape == four_colours().shape
    with pytest.raises(ImageError, match=r"scans of 8000 x 8000 pixels"):
        Picture(huge)


def large_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("raw profile", "x" * 5_000_000, zip=True)
    return encoded(four_colours(), "PNG", pnginfo=info)


SOUND: dict[str, Callable[[], bytes]] = {
    "a JPEG of 500 segments": lambda: segments(500, b"some words"),
    "a JPEG with a colour profile of 10 MB": lambda: segments(160, bytes(65_000)),
    "a JPEG with another behind it": lambda: JPEG + JPEG,
    "a PNG of many pieces": lambda: PNG[:33] + chunk(b"prVt") * 50_000 + PNG[33:],
    "a PNG with 5 MB of text": large_text,
    "a GIF with a long comment": lambda: (
        GIF[:GIF_HEAD] + b"!\xfe" + (b"\xff" + b"x" * 255) * 1000 + b"\0" + GIF[GIF_HEAD:]
    ),
    "a TIFF of many strips": lambda: encoded(Image.fromarray(np.zeros((3000, 8), np.uint8)), "TIFF", strip_size=8),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_read(name: str) -> None:
    assert read_image(SOUND[name]()).ndim == 3


# How a picture is turned, EXIF says; XMP, which nothing that shows pictures goes by, does not


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_xmp_does_not_turn_a_picture(format: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    if format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        content = encoded(four_colours(), "PNG", pnginfo=info)
    elif format == "JPEG":
        head = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        content = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(head)) + head + JPEG[2:]
    else:
        content = encoded(four_colours(), "WEBP", xmp=xmp, lossless=True)
    picture = Picture(content)
    assert picture.decode().shape == four_colours().shape
    assert (picture.height_px, picture.width_px) == four_colours().shape[:2]


# What OpenCV would fill up and say nothing of


@pytest.mark.parametrize("progressive", [False, True])
def test_a_picture_with_another_in_its_middle_is_what_pillow_says(progressive: bool, astronaut: np.ndarray) -> None:
    content = encoded(Image.fromarray(astronaut), "JPEG", progressive=progressive)
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        read_image(content[: len(content) * 2 // 5] + content)
