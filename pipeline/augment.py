"""Random changes to a face crop in training, the same for real and fake, so that only the forgery tells them apart.

Cameras, apps and web sites shift, shrink, blur and re-save pictures; a detector that has not seen that happen to both
classes takes it for a forgery, or for a proof of innocence.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..edge.conditions import jpeg, rescale

FLIP_SHARE = 0.5
WARP_SHARE = 0.5
LIGHT_SHARE = 0.5
DOWNSCALE_SHARE = 0.25
BLUR_SHARE = 0.15
NOISE_SHARE = 0.15
JPEG_SHARE = 0.5


def augment(crop: np.ndarray, size_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return a randomly changed (size_px, size_px, 3) uint8 RGB view of a larger (S, S, 3) crop."""
    image = _warp(crop, size_px, rng) if rng.random() < WARP_SHARE else _shift(crop, size_px, rng)
    if rng.random() < FLIP_SHARE:
        image = image[:, ::-1]
    if rng.random() < LIGHT_SHARE:
        image = _light(image, rng)
    if rng.random() < BLUR_SHARE:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < DOWNSCALE_SHARE:
        image = _downscale(image, rng)
    if rng.random() < NOISE_SHARE:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 6))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < JPEG_SHARE:
        image = jpeg(image, int(rng.integers(35, 96)))
    return np.ascontiguousarray(image)


def _shift(crop: np.ndarray, size_px: int, rng: np.random.Generator) -> np.ndarray:
    x, y = rng.integers(0, crop.shape[0] - size_px + 1, 2)
    return crop[y : y + size_px, x : x + size_px]


def _warp(crop: np.ndarray, size_px: int, rng: np.random.Generator) -> np.ndarray:
    zoom, degrees = rng.uniform(0.88, 1.18), rng.uniform(-10, 10)
    middle = crop.shape[0] / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, zoom)
    matrix[:, 2] += size_px / 2 - middle + rng.uniform(-8, 8, 2)
    return cv2.warpAffine(crop, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    contrast, brightness, gamma = rng.uniform(0.75, 1.25), rng.uniform(-25, 25), rng.uniform(0.8, 1.25)
    tint = rng.uniform(0.93, 1.07, 3)  # white balance
    levels = 255 * (np.arange(256) / 255) ** gamma
    levels = (levels[:, None] - 128) * contrast * tint + 128 + brightness
    table = np.clip(levels, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[np.newaxis])


def _downscale(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rescale(image, rng.uniform(0.35, 0.9))
