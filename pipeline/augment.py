"""Random changes to a face crop in training, the same for real and fake, so that only the forgery tells them apart.

Cameras, apps and web sites tint, sharpen, shrink, blur and re-save pictures; a detector that has not seen that happen
to both classes takes it for a forgery, or for a proof of innocence.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..edge.conditions import jpeg

FLIP_SHARE = 0.5
WARP_SHARE = 0.5
COLOUR_SHARE = 0.5
SHARPEN_SHARE = 0.15
BLUR_SHARE = 0.15
DOWNSCALE_SHARE = 0.35
NOISE_SHARE = 0.2
JPEG_SHARE = 0.6

_SHRINKING = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
_ENLARGING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def augment(crop: np.ndarray, size_px: int, rng: np.random.Generator, closer: float = 1.0) -> np.ndarray:
    """Return a randomly changed (size_px, size_px, 3) uint8 RGB view of a larger (S, S, 3) crop.

    closer >= 1 enlarges it. The same state of rng changes another crop in the same way.
    """
    zoom, degrees, shift = 1.0, 0.0, rng.integers(0, crop.shape[0] - size_px + 1, 2) - (crop.shape[0] - size_px) // 2
    if rng.random() < WARP_SHARE:
        zoom, degrees, shift = rng.uniform(0.88, 1.18), rng.uniform(-10, 10), rng.uniform(-8, 8, 2)
    image = _view(crop, size_px, zoom * closer, degrees, shift)
    if rng.random() < FLIP_SHARE:
        image = image[:, ::-1]
    if rng.random() < COLOUR_SHARE:
        image = _colour(image, rng)
    if rng.random() < SHARPEN_SHARE:
        image = _sharpen(image, rng)
    if rng.random() < BLUR_SHARE:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < DOWNSCALE_SHARE:
        image = _downscale(image, rng)
    if rng.random() < NOISE_SHARE:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 6))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < JPEG_SHARE:
        image = jpeg(image, int(rng.integers(30, 96)))
    return np.ascontiguousarray(image)


def _view(crop: np.ndarray, size_px: int, zoom: float, degrees: float, shift: np.ndarray) -> np.ndarray:
    middle = crop.shape[0] / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, zoom)
    matrix[:, 2] += size_px / 2 - middle - shift
    return cv2.warpAffine(crop, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _colour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture in another light: contrast, brightness, gamma, white balance, a cast and saturation."""
    contrast, brightness, gamma = rng.uniform(0.75, 1.25), rng.uniform(-20, 20), rng.uniform(0.8, 1.25)
    balance, cast = rng.uniform(0.93, 1.07, 3), rng.uniform(-12, 12, 3)
    levels = 255 * (np.arange(256) / 255) ** gamma
    levels = (levels[:, None] - 128) * contrast * balance + 128 + brightness + cast
    changed = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)[np.newaxis])
    grey = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    saturation = rng.uniform(0.5, 1.3)
    return cv2.addWeighted(changed, saturation, grey, 1 - saturation, 0)


def _sharpen(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    soft, amount = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 2)), rng.uniform(0.2, 1.2)
    return cv2.addWeighted(image, 1 + amount, soft, -amount, 0)


def _downscale(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side, small_px = image.shape[0], max(1, round(image.shape[0] * rng.uniform(0.35, 0.9)))
    small = cv2.resize(image, (small_px, small_px), interpolation=int(rng.choice(_SHRINKING)))
    return cv2.resize(small, (side, side), interpolation=int(rng.choice(_ENLARGING)))
