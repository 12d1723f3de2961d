"""The square that the classifier sees of a face: turned upright, moved into the picture, resampled."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from .faces import Box, Square


def crop_face(
    image: np.ndarray,
    box_xyxy: Box,
    *,
    size_px: int,
    margin_ratio: float,
    shown_ratio: float = math.inf,
    roll_degrees: float = 0.0,
    surround_ratio: float = 1.0,
) -> np.ndarray:
    """Cut the square around a face box, turned upright, as (size_px, size_px, 3) uint8 RGB.

    The square is face_square's; corners that leave the picture are mirrored. surround_ratio > 1 returns that much more
    around the same square: its centre is the crop of ratio 1, at the same pitch. Where the square is more than
    shown_ratio times the box's longer side, only that much of its centre is returned, enlarged.

    Pixels are averaged in whole blocks while two or more of them fall on one of the crop's, then sampled bilinearly.
    """
    square = face_square(image, box_xyxy, margin_ratio=margin_ratio, roll_degrees=roll_degrees)
    crop = cut_square(image, replace(square, side_px=square.side_px * surround_ratio), size_px=size_px)
    return closer(crop, closeness(square, box_xyxy, shown_ratio))


def closeness(square: Square, box_xyxy: Box, shown_ratio: float) -> float:
    """Return how far to enlarge the centre of a square so that it shows shown_ratio times the face box."""
    x_min, y_min, x_max, y_max = box_xyxy
    return square.side_px / (shown_ratio * max(x_max - x_min, y_max - y_min, 1e-9))


def face_square(image: np.ndarray, box_xyxy: Box, *, margin_ratio: float, roll_degrees: float = 0.0) -> Square:
    """Return the square that crop_face cuts.

    Before it is turned its side is margin_ratio times the box's longer side; it is moved, and if need be shrunk, into
    the picture, so that a verdict rests on real pixels; then it is turned clockwise about its centre.
    """
    height, width = image.shape[:2]
    x_min, y_min, x_max, y_max = box_xyxy
    side = min(margin_ratio * max(x_max - x_min, y_max - y_min), height, width)
    centre_x = min(max((x_min + x_max) / 2, side / 2), width - side / 2)
    centre_y = min(max((y_min + y_max) / 2, side / 2), height - side / 2)
    return Square(centre_x, centre_y, side, roll_degrees)


def resize_face(image: np.ndarray, *, size_px: int) -> np.ndarray:
    """Resize the centre square of a picture that is a face crop already to (size_px, size_px, 3) uint8 RGB."""
    height, width = image.shape[:2]
    return crop_face(image, (0, 0, width, height), size_px=size_px, margin_ratio=1)


def closer(crop: np.ndarray, ratio: float) -> np.ndarray:
    """Enlarge the centre of a (S, S, 3) uint8 RGB crop, 1 / ratio of its side, to the whole; never shrink it."""
    if ratio <= 1:
        return crop
    side_px = len(crop)
    return cut_square(crop, Square(side_px / 2, side_px / 2, side_px / ratio, 0.0), size_px=side_px)


def centre(crop: np.ndarray, size_px: int) -> np.ndarray:
    """Return the centre (size_px, size_px, 3) of a larger square crop."""
    start = (crop.shape[0] - size_px) // 2
    return crop[start : start + size_px, start : start + size_px]


def saved_size_px(input_size_px: int) -> int:
    """Return the side of the crops that are stored for training, a seventh larger (256 for 224) to allow shifts.

    The rim is as wide on every side, so that the centre shows what a plain crop would.
    """
    return input_size_px + 2 * round(input_size_px / 14)


def cut_square(image: np.ndarray, square: Square, *, size_px: int) -> np.ndarray:
    """Return a square of a (H, W, 3) uint8 RGB picture, turned upright, as (size_px, size_px, 3) uint8 RGB.

    What is beyond the picture's edge is mirrored.
    """
    pitch = max(square.side_px, 1.0) / size_px  # picture pixels for one of the crop
    block = max(1, int(pitch))
    angle = math.radians(square.roll_degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    reach = pitch * size_px / 2 * (abs(cos) + abs(sin))  # from the centre, of the turned square
    # The blocks that the square touches, and one more on each side for the interpolation.
    first_x, first_y = (math.floor((middle - reach) / block) - 1 for middle in (square.centre_x, square.centre_y))
    blocks = math.ceil(2 * reach / block) + 3
    patch = _mirrored_patch(image, first_x * block, first_y * block, blocks * block)
    if block > 1:
        patch = cv2.resize(patch, (blocks, blocks), interpolation=cv2.INTER_AREA)
    # Pixel centres: with c = (size_px - 1) / 2, the crop's pixel (i, j) lies at the centre + pitch * turned (i - c,
    # j - c), the blocks' (k, l) at ((k + 1/2) block, (l + 1/2) block).
    step_x, step_y, c = pitch * cos / block, pitch * sin / block, (size_px - 1) / 2
    start_x = square.centre_x / block - 0.5 - first_x - (step_x - step_y) * c
    start_y = square.centre_y / block - 0.5 - first_y - (step_y + step_x) * c
    matrix = np.array([[step_x, -step_y, start_x], [step_y, step_x, start_y]])
    return cv2.warpAffine(patch, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _mirrored_patch(image: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    x_from, y_from = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    x_to, y_to = min(max(x + side, x_from + 1), width), min(max(y + side, y_from + 1), height)
    inside = image[y_from:y_to, x_from:x_to]
    rims = (max(y_from - y, 0), max(y + side - y_to, 0), max(x_from - x, 0), max(x + side - x_to, 0))
    return cv2.copyMakeBorder(inside, *rims, cv2.BORDER_REFLECT_101) if any(rims) else inside
