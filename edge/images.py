"""The one way a picture file becomes pixels, for training, calibration, evaluation and scan alike."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

from .errors import ImageError, SourceError
from .files import replacing
from .structure import MAX_SCANNED_MEGAPIXELS, MAX_SCANS, check_structure

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"}
)
"""File name endings that mark a picture in a folder; what a file really is, its content decides."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
"""Formats by content that are decoded; everything else Pillow knows (EPS, PSD, ...) is refused."""

MAX_MEGAPIXELS = 100.0
MAX_SIDE_PX = 32_766
"""OpenCV's warps count pixels in 16 bits."""

REDUCTIONS = (1, 2, 4, 8)
"""By how much libjpeg can shrink while it decodes; it averages about as many pixels."""

# Odd metadata; what is wrong with the pixels comes as an error.
warnings.filterwarnings("ignore", module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # _check_size decides, on the header as Pillow would
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 2**20  # editors keep colour tables and XMP of more than Pillow's one MiB there

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_AS_STORED_RGB = cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR_RGB
_JPEG_QUALITY = 95
_LARGE_PX = 20e6
_one_large = threading.Lock()
"""Pillow needs up to 18 bytes a pixel: large pictures are decoded in turn, whatever the number of workers."""
MAX_FILE_BYTES = 320 * 2**20  # 100 megapixels as they are

_EXIF_ORIENTATION = 0x0112
_ON_THEIR_SIDES = (5, 6, 7, 8)
_UPRIGHT_BY: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def read_image(source: Path | bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Decode a picture, upright and opaque, as (H, W, 3) uint8 RGB in 0..255; raises what Picture and decode raise."""
    return Picture(source, max_megapixels=max_megapixels).decode()


def upright_rgb(image: Image.Image, *, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Return a PIL image, upright and opaque, as (H, W, 3) uint8 RGB; raises ImageError where that fails."""
    with _as_image_errors():
        _check_size(image.size, max_megapixels, scans=1)
        image.load()  # which turns a TIFF upright
        return _UPRIGHT_BY[_orientation(image)](np.array(_to_rgb(image)))


def write_image(image: np.ndarray, path: Path) -> None:
    """Write a (H, W, 3) uint8 RGB picture as path, a .png, .jpg or .jpeg; raises SourceError where that fails."""
    format = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower())
    if format is None:
        raise SourceError(f"cannot write {path}: wanted a name that ends in .png or .jpg")
    with replacing(path) as partial:
        Image.fromarray(image).save(partial, format, quality=_JPEG_QUALITY)


class Picture:
    """A picture file whose header has been read and found acceptable, and whose pixels have not been decoded yet."""

    def __init__(self, source: Path | bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> None:
        """Read a file, or its content, as far as its header.

        Raises ImageError for a file that cannot be read, is no picture of an allowed format, or has more than
        max_megapixels million pixels or MAX_SIDE_PX a side.
        """
        with _as_image_errors():
            self._content = _read(source) if isinstance(source, Path) else source
            jpeg = check_structure(self._content, max_megapixels)
            with self._opened() as image:
                _check_size(image.size, max_megapixels, jpeg.scans if jpeg else 1)
                # What is not orderly is left to Pillow, which refuses much that OpenCV fills up and says nothing of.
                is_plain = isinstance(image, JpegImageFile) and image.mode in ("RGB", "L")
                self._is_plain_jpeg = is_plain and jpeg is not None and jpeg.is_orderly
                self._orientation = _orientation(image)
                self._turn = _one_large if np.prod(image.size) > _LARGE_PX else nullcontext()
                # Of a TIFF Pillow gives the size upright.
                on_its_side = image.format != "TIFF" and self._orientation in _ON_THEIR_SIDES
                self.width_px, self.height_px = image.size[::-1] if on_its_side else image.size

    def decode(self, reduction: int = 1) -> np.ndarray:
        """Return the picture, upright and opaque, as (H, W, 3) uint8 RGB in 0..255.

        The content decides the format, EXIF orientation is applied once, transparency goes over white, 16-bit grey is
        scaled, CMYK is converted, and an animation gives its first frame. Colour profiles are ignored. With a reduction
        of REDUCTIONS a JPEG comes with that many times fewer pixels a side, rounded up, in less time; other formats
        come whole. Raises ImageError for a picture that is damaged, truncated, or too large for the memory.
        """
        with _as_image_errors():
            if self._is_plain_jpeg:
                pixels = _decode_jpeg(self._content, reduction)
                if pixels is not None:
                    return _UPRIGHT_BY[self._orientation](pixels)
            with self._turn, self._opened() as image:
                is_jpeg = isinstance(image, JpegImageFile)
                image.draft(None, (max(1, image.width // reduction), max(1, image.height // reduction)))
                image.load()
                pixels = _UPRIGHT_BY[_orientation(image)](np.asarray(_to_rgb(image)))
            if not is_jpeg:  # a PNG may say behind its pixels how it is turned
                self.height_px, self.width_px = pixels.shape[:2]
            return pixels if pixels.flags.writeable else pixels.copy()  # once Pillow has let go of its own

    def _opened(self) -> Image.Image:
        try:
            return Image.open(io.BytesIO(self._content), formats=formats())
        except Image.UnidentifiedImageError:
            if _is_heif(self._content) and "HEIF" not in formats():
                raise ImageError("a HEIC picture; to read these run: pip install pillow-heif") from None
            raise


@contextmanager
def _as_image_errors() -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"not a picture in a format that is read ({', '.join(formats())})") from error
    except MemoryError as error:
        raise ImageError("too large for the memory of this machine") from error
    # A hostile file makes Pillow's decoders raise nearly anything: SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise ImageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    said = str(error).removesuffix(" when reading image file") or type(error).__name__
    return "truncated: the file ends before its picture does" if "truncated" in said.lower() else f"damaged: {said}"


def _read(path: Path) -> bytes:
    if not path.is_file():
        kind = "a folder that may not be opened" if path.is_dir() else "no file" if path.exists() else "no such file"
        raise ImageError(kind)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImageError(f"a file of more than {MAX_FILE_BYTES >> 20} MiB")
    return path.read_bytes()


def _is_heif(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


@cache
def formats() -> list[str]:
    """Return the formats that are read here, as Pillow calls them."""
    Image.init()
    if find_spec("pillow_heif"):
        import_module("pillow_heif").register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(size: tuple[int, int], max_megapixels: float, scans: int) -> None:
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise ImageError(f"{width} x {height} pixels are more than the limit of {max_megapixels:g} megapixels")
    if max(size) > MAX_SIDE_PX:
        raise ImageError(f"{width} x {height} pixels: a side of more than {MAX_SIDE_PX} cannot be handled")
    if scans > min(MAX_SCANS, MAX_SCANNED_MEGAPIXELS * 1e6 / max(width * height, 1)):
        raise ImageError(f"{scans} scans of {width} x {height} pixels; a JPEG has about ten")


def _orientation(image: Image.Image) -> int:
    try:
        if image.format == "TIFF":
            exif = image.getexif()
        else:  # getexif would go by XMP, too, which nothing that shows pictures does
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
        orientation = exif.get(_EXIF_ORIENTATION, 1)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1
    return orientation if orientation in _UPRIGHT_BY else 1


def _decode_jpeg(content: bytes, reduction: int) -> np.ndarray | None:
    """Return what Pillow would, to the bit and in half the time; None where only Pillow can tell."""
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), _REDUCED[reduction] | _AS_STORED_RGB)
    except cv2.error:
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey
        levels = np.asarray(image)
        levels = np.clip(levels, 0, 65535) if levels.dtype != np.uint16 else levels
        return Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined white; save it as 8 or 16 bit")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")
