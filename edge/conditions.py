"""What happens to pictures on their way to us: the conditions that detectors are measured, set and doubted under."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .cut import closer, cut_square
from .faces import Square


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return a (H, W, 3) uint8 RGB picture after saving it as JPEG of a quality 1..100."""
    _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1]


def rescale(
    image: np.ndarray, ratio: float, through: Callable[[np.ndarray], np.ndarray] = lambda small: small
) -> np.ndarray:
    """Return a (H, W, 3) uint8 RGB picture shrunk by area averaging to ratio < 1 and enlarged back bilinearly.

    What happens to it while it is small, through does.
    """
    height, width = image.shape[:2]
    small_size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
    return cv2.resize(through(small), (width, height), interpolation=cv2.INTER_LINEAR)


CONDITIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "clean": lambda image: image,
    "JPEG 50": lambda image: jpeg(image, 50),
    "half size": lambda image: rescale(image, 0.5),
    "blur": lambda image: cv2.GaussianBlur(image, (0, 0), 1.5),
    "social media": lambda image: rescale(image, 0.7, through=lambda small: jpeg(small, 60)),
}
"""Social media shrink a picture, here to 0.7 of its sides, and save it anew."""

THRESHOLD_CONDITIONS = ("clean", "JPEG 50", "half size")
"""Those under which thresholds keep what they promise."""

_CLOSER_SHARE = 0.05
_SAVED_AGAIN_QUALITY = 75


def variations(image: np.ndarray, seen: np.ndarray, square: Square, ratio: float) -> list[np.ndarray]:
    """Return four (S, S, 3) uint8 RGB views that show a person the same as seen: closer(the crop of a square of image).

    It is mirrored, saved again as JPEG, and cut from two squares a twentieth smaller, in the upper left and the lower
    right corner of the square. ratio is what closer was given for seen.
    """
    side_px = square.side_px * (1 - _CLOSER_SHARE)
    moved = []
    for centre_px in (side_px / 2, square.side_px - side_px / 2):
        x, y = square.place(np.array([centre_px, centre_px])).tolist()
        crop = cut_square(image, Square(x, y, side_px, square.roll_degrees), size_px=seen.shape[0])
        moved.append(closer(crop, ratio))
    return [np.ascontiguousarray(seen[:, ::-1]), jpeg(seen, _SAVED_AGAIN_QUALITY), *moved]
