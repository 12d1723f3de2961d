"""What a picture file, its size and its light tell without a look at the face."""

from __future__ import annotations

import io
import math
from dataclasses import astuple, dataclass

import cv2
import numpy as np
from PIL import Image

from ..edge.images import formats

FEATURES = (
    *("width", "height", "bytes per pixel", "JPEG table", "brightness", "contrast", "saturation", "sharpness"),
    *("border brightness", "border contrast"),
)
"""What Traits.features holds, by name."""

_BORDER_SHARE = 0.04


@dataclass(frozen=True)
class Traits:
    """Of one picture; light is in 0..255."""

    width: int
    height: int
    bytes_per_pixel: float
    jpeg_table: float
    """The mean of a JPEG's luminance quantisation table, which grows as its quality falls; 0 for no JPEG."""
    brightness: float
    contrast: float
    saturation: float
    sharpness: float
    """Logarithm of the variance of the Laplacian, plus one."""
    border_brightness: float
    border_contrast: float
    format: str
    """By the content, as Pillow calls it."""

    @property
    def features(self) -> np.ndarray:
        """FEATURES (10,) float64."""
        return np.array(astuple(self)[: len(FEATURES)], np.float64)


def traits(content: bytes, image: np.ndarray) -> Traits:
    """Return the traits of a picture file whose content decodes to a (H, W, 3) uint8 RGB image."""
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    rim = max(1, round(min(height, width) * _BORDER_SHARE))
    middle = grey[rim : height - rim]
    border = np.concatenate([grey[:rim], grey[height - rim :], middle[:, :rim], middle[:, width - rim :]], axis=None)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    with Image.open(io.BytesIO(content), formats=formats()) as header:
        tables = getattr(header, "quantization", {})
        format_ = "JPEG" if header.format == "MPO" else header.format or ""
    return Traits(
        width=width,
        height=height,
        bytes_per_pixel=len(content) / (width * height),
        jpeg_table=float(np.mean(tables[0])) if 0 in tables else 0.0,
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        saturation=float(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[:, :, 1].mean()),
        sharpness=math.log(float(deviation[0, 0]) ** 2 + 1),
        border_brightness=float(border.mean()),
        border_contrast=float(border.std()),
        format=format_,
    )
