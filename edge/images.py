"""The one way a picture file becomes pixels, for training, calibration, evaluation and scan alike."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from .errors import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"})
"""File name endings that mark a picture in a folder; what a file really is, its content decides."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""Formats by content that are decoded; everything else Pillow knows (EPS, PSD, ...) is refused."""

MAX_MEGAPIXELS = 100.0
MAX_SIDE_PX = 32_766
"""OpenCV's warps count pixels in 16 bits."""

Image.MAX_IMAGE_PIXELS = None  # _check_size decides, on the header as Pillow would

_EXIF_ORIENTATION = 0x0112
_UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: Path | bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Decode a picture, upright and opaque, as (H, W, 3) uint8 RGB in 0..255.

    The content decides the format, EXIF orientation is applied once, transparency goes over white, 16-bit grey is
    scaled, CMYK is converted, and an animation gives its first frame. Colour profiles are ignored.

    Raises ImageError for a file that cannot be read, is no picture of an allowed format, is truncated, or has more
    than max_megapixels million pixels or MAX_SIDE_PX a side (checked before anything is decoded).
    """
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        if isinstance(source, Path) and not source.is_file():
            raise ImageError("not a file that can be read" if source.exists() else "no such file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata: what is wrong with the pixels comes as an error
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
                _check_size(image.size, max_megapixels)
                image.load()
                return np.array(_to_rgb(_upright(image)))
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"not a picture in a format that is read ({', '.join(formats)})") from error
    except MemoryError as error:
        raise ImageError("too large for the memory of this machine") from error
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error
    # A hostile file makes Pillow's decoders raise nearly anything: SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise ImageError(f"damaged picture: {type(error).__name__}: {error}") from error


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise ImageError(f"{width} x {height} pixels are more than the limit of {max_megapixels:g} megapixels")
    if max(size) > MAX_SIDE_PX:
        raise ImageError(f"{width} x {height} pixels: a side of more than {MAX_SIDE_PX} cannot be handled")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a broken EXIF block says nothing about the pixels
        orientation = 1
    method = _UPRIGHT_BY.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey
        levels = np.asarray(image)
        levels = np.clip(levels, 0, 65535) if levels.dtype != np.uint16 else levels
        return Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined white; save it as 8 or 16 bit")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")
