"""One way of reading: every format, orientation and colour mode comes out as upright, opaque 8-bit RGB."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetell.edge.errors import ImageError
from facetell.edge.images import FORMATS, SUFFIXES, read_image

from ..pictures import BLACK, BLUE, GREEN, RED, WHITE, encoded, four_colours

EXIF_ORIENTATION = 0x0112


def flat(mode: str, colour) -> Image.Image:
    return Image.new(mode, (5, 3), colour)


def colour_of(content: bytes) -> tuple[int, ...]:
    """The one colour of a picture, after checking that there is only one."""
    pixels = read_image(content).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return tuple(int(value) for value in pixels[0])


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


# Formats


@pytest.mark.parametrize(
    ("format", "options", "max_difference"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("GIF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 6),
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 4),
        ("MPO", {"quality": 95, "subsampling": 0}, 4),  # what some phones put into a .jpg
    ],
)
@pytest.mark.parametrize("as_file", [False, True], ids=["bytes", "file"])
def test_formats_are_read_by_content(format, options, max_difference, as_file, tmp_path: Path) -> None:
    image = four_colours()
    content = encoded(image, format, **options)
    if as_file:
        (tmp_path / "picture.whatever").write_bytes(content)
    read = read_image(tmp_path / "picture.whatever" if as_file else content)
    assert (read.dtype, read.shape) == (np.uint8, image.shape)
    # Away from the seams, where lossy formats mix the colours.
    assert np.abs(read.astype(int) - image)[4:-4:8, 4:-4:8].max() <= max_difference


def test_avif_is_read_where_pillow_can() -> None:
    Image.init()
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    read = read_image(encoded(four_colours(), "AVIF", quality=95))
    assert np.abs(read.astype(int) - four_colours())[4:-4:8, 4:-4:8].max() <= 6


def test_pixels_can_be_written_to() -> None:
    read = read_image(encoded(four_colours(), "PNG"))
    read[0, 0] = 7
    assert read[0, 0, 0] == 7


def test_every_format_has_a_file_name_ending() -> None:
    Image.init()
    endings = {format: {end for end, name in Image.EXTENSION.items() if name == format} for format in FORMATS}
    for format in FORMATS:
        assert endings[format] & SUFFIXES or format not in Image.SAVE, format


# Orientation

STORED_AS = {  # orientation -> how a camera held that way stores an upright picture
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize(
    ("format", "options", "max_difference"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
    ],
    ids=["JPEG", "PNG", "WEBP", "TIFF", "TIFF-LZW"],
)
def test_orientation_is_applied_once(orientation, format, options, max_difference) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored = np.ascontiguousarray(STORED_AS[orientation](four_colours()))
    read = read_image(encoded(stored, format, exif=exif, **options))
    assert read.shape == four_colours().shape
    assert np.abs(read.astype(int) - four_colours()).max() <= max_difference


def test_orientation_of_the_sample(samples: Path, astronaut: np.ndarray) -> None:
    turned = read_image(samples / "real_turned_by_exif.jpg")
    assert turned.shape == astronaut.shape
    assert np.abs(turned.astype(int) - astronaut).mean() < 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    assert (read_image(encoded(four_colours(), "PNG", exif=exif)) == four_colours()).all()


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0nonsense of no meaning",
        b"Exif\0\0II*\0\xff\xff\xff\xff",  # a directory far outside
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1\x12\0\2" * 9,  # 65535 entries announced, few there
    ],
    ids=["empty", "text", "offset", "entries"],
)
def test_a_broken_exif_block_does_not_matter(exif: bytes) -> None:
    read = read_image(encoded(four_colours(), "JPEG", quality=95, subsampling=0, exif=exif))
    assert np.abs(read.astype(int) - four_colours()).max() <= 4


# Colour modes


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(flat("RGB", (10, 20, 30)), "PNG"), (10, 20, 30)),
        (encoded(flat("L", 77), "PNG"), (77, 77, 77)),
        (encoded(flat("1", 1), "PNG"), WHITE),
        (encoded(flat("1", 0), "PNG"), BLACK),
        (encoded(flat("1", 1), "TIFF", compression="group4"), WHITE),
        # transparency over white
        (encoded(flat("RGBA", (*RED, 255)), "PNG"), RED),
        (encoded(flat("RGBA", (*RED, 0)), "PNG"), WHITE),
        (encoded(flat("RGBA", (*BLACK, 51)), "PNG"), (204, 204, 204)),
        (encoded(flat("RGBA", (*BLACK, 51)), "WEBP", lossless=True), (204, 204, 204)),
        (encoded(flat("RGBA", (*BLACK, 51)), "TIFF"), (204, 204, 204)),
        (encoded(flat("LA", (0, 51)), "PNG"), (204, 204, 204)),
        (encoded(flat("RGB", RED), "PNG", transparency=RED), WHITE),
        (encoded(flat("RGB", RED), "PNG", transparency=BLUE), RED),
        (encoded(flat("L", 9), "PNG", transparency=9), WHITE),
        # 16-bit grey is scaled
        (encoded(flat("I;16", 0), "PNG"), BLACK),
        (encoded(flat("I;16", 128 * 257), "PNG"), (128, 128, 128)),
        (encoded(flat("I;16", 65535), "PNG"), WHITE),
        (encoded(flat("I;16", 128 * 257), "TIFF"), (128, 128, 128)),
        (encoded(flat("I;16B", 128 * 257), "TIFF"), (128, 128, 128)),
        (encoded(flat("I", 128 * 257), "TIFF"), (128, 128, 128)),
        # CMYK is converted
        (encoded(flat("CMYK", (0, 0, 0, 0)), "TIFF"), WHITE),
        (encoded(flat("CMYK", (0, 255, 255, 0)), "TIFF"), RED),
        (encoded(flat("CMYK", (0, 0, 0, 255)), "TIFF"), BLACK),
        (encoded(flat("CMYK", (0, 0, 0, 0)), "JPEG", quality=100), WHITE),
        (encoded(flat("CMYK", (0, 0, 0, 255)), "JPEG", quality=100), BLACK),
    ],
)
def test_colour_modes(content: bytes, colour: tuple[int, ...]) -> None:
    assert colour_of(content) == colour


@pytest.mark.parametrize(
    ("transparency", "first", "second"),
    [(None, RED, BLUE), (0, WHITE, BLUE), (1, RED, WHITE), (bytes([255, 0]), RED, WHITE)],
    ids=["opaque", "first", "second", "a table"],
)
def test_palettes_with_and_without_transparency(transparency, first, second) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    options = {} if transparency is None else {"transparency": transparency}
    read = read_image(encoded(image, "PNG", **options))
    assert read.tolist() == [[list(first), list(second)]]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [flat("RGB", colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if format == "WEBP" else {}
    content = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(content)) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert colour_of(content) == RED


# Refusals


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a picture"),
        (b"not a picture, only called so", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n", "not a picture"),
        (encoded(flat("RGB", RED), "EPS"), "not a picture"),
        (b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\1\0\0\0\1\0\x08\0\3" + bytes(30), "not a picture"),
        (encoded(flat("RGB", RED), "PDF"), "not a picture"),
        (encoded(flat("RGB", RED), "TGA"), "not a picture"),
        (encoded(flat("RGB", RED), "PPM"), "not a picture"),
        (encoded(flat("F", 0.5), "TIFF"), "floating-point"),
        (encoded(four_colours(600, 800), "JPEG")[:2000], "truncated"),
        (encoded(four_colours(600, 800), "PNG")[:200], "truncated"),
        (encoded(four_colours(), "JPEG")[:20], "."),
        (encoded(four_colours(), "PNG")[:20], "."),
        (encoded(four_colours(), "WEBP")[:40], "."),
        (encoded(four_colours(), "GIF")[:40], "."),
        (encoded(four_colours(), "BMP")[:60], "."),
        (encoded(four_colours(), "TIFF")[:100], "."),
    ],
    ids=[
        *("empty", "text", "EPS header", "EPS", "PSD", "PDF", "TGA", "PPM", "float"),
        *(f"cut {name}" for name in ("JPEG", "PNG", "JPEG header", "PNG header", "WEBP", "GIF", "BMP", "TIFF")),
    ],
)
@pytest.mark.parametrize("as_file", [False, True], ids=["bytes", "file"])
def test_what_is_no_whole_picture_is_refused(content: bytes, reason: str, as_file: bool, tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        read_image(tmp_path / "picture.jpg" if as_file else content)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "a folder that may not be opened"),
        ("missing.jpg", "no such file"),
        ("missing/below.jpg", "no such file"),
        ("a" * 300, "."),
    ],
    ids=["folder", "missing", "missing folder", "name too long"],
)
def test_what_is_no_file_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("max_megapixels", "is_read"), [(32 * 48 / 1e6, True), (32 * 48 / 1e6 - 1e-6, False), (0.001, False), (1, True)]
)
def test_too_many_pixels_are_refused(max_megapixels: float, is_read: bool) -> None:
    content = encoded(four_colours(), "PNG")
    if is_read:
        assert read_image(content, max_megapixels=max_megapixels).shape == (32, 48, 3)
    else:
        with pytest.raises(ImageError, match="48 x 32 pixels are more than the limit"):
            read_image(content, max_megapixels=max_megapixels)


@pytest.mark.parametrize("side", [10_001, 14_000, 60_000])
def test_a_header_that_claims_too_many_pixels_is_refused_by_size(side: int) -> None:
    with pytest.raises(ImageError, match=f"{side} x {side} pixels are more than the limit of 100 megapixels"):
        read_image(png_of_size(side, side))


def test_only_our_own_limit_on_pixels_counts() -> None:
    """95 megapixels are allowed, so that the only thing wrong with this file is that its pixels are missing."""
    with pytest.raises(ImageError) as refused:
        read_image(png_of_size(9500, 10_000))
    assert "Bomb" not in str(refused.value)
