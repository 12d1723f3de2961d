"""Fakes made on the fly from real faces: a face blended into itself, with what every face swap leaves behind.

Self-blended images (Shiohara and Yamasaki 2022, arXiv:2204.08376), from the paper's description: two variants of one
picture that differ a little in colour, sharpness and place, joined along a soft, wobbly outline. Whoever learns to see
the joint needs no generator's fingerprint, so it carries over to swaps that were never seen.
"""

from __future__ import annotations

import cv2
import numpy as np

_SHARES = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""How much of the source shows inside the outline; the paper's."""

_COLOUR_SHARE = 0.3
"""How often each change of colour happens; the paper's. If one always did, a colour cast would give the fake away."""

_REGIONS = (
    ((0.50, 0.06), (0.82, 0.16), (0.95, 0.45), (0.86, 0.78), (0.50, 1.00), (0.14, 0.78), (0.05, 0.45), (0.18, 0.16)),
    ((0.20, 0.22), (0.50, 0.16), (0.80, 0.22), (0.84, 0.42), (0.74, 0.78), (0.50, 0.90), (0.26, 0.78), (0.16, 0.42)),
    ((0.12, 0.20), (0.50, 0.14), (0.88, 0.20), (0.90, 0.42), (0.62, 0.50), (0.50, 0.62), (0.38, 0.50), (0.10, 0.42)),
    ((0.50, 0.42), (0.72, 0.58), (0.80, 0.76), (0.50, 0.98), (0.20, 0.76), (0.28, 0.58)),
    ((0.50, 0.60), (0.74, 0.68), (0.70, 0.84), (0.50, 0.90), (0.30, 0.84), (0.26, 0.68)),
)
"""Outlines in shares of the face box: the whole face, its inside, the eyes and nose, the lower face, the mouth."""


def self_blend(crop: np.ndarray, face_px: float, rng: np.random.Generator) -> np.ndarray:
    """Return a fake (S, S, 3) uint8 RGB made of one real face crop, whose face box is the middle face_px square."""
    varied, plain = _varied(crop, rng), crop
    source, target = (varied, plain) if rng.random() < 0.5 else (plain, varied)
    mask = _mask(crop.shape[0], face_px, rng) * np.float32(rng.choice(_SHARES))
    return cv2.blendLinear(_moved(source, rng), target, mask, 1 - mask)


def _varied(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture with other colours, and sharper or less sharp."""
    levels, changed = np.arange(256)[:, np.newaxis], image
    if rng.random() < _COLOUR_SHARE:
        hue, saturation, value = rng.uniform((-4, -30, -30), (4, 30, 30))
        table = _table(np.hstack([(levels + hue) % 180, levels + saturation, levels + value]))
        changed = cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table), cv2.COLOR_HSV2RGB)
    if rng.random() < _COLOUR_SHARE:
        changed = cv2.LUT(changed, _table(levels + rng.uniform(-20, 20, 3)))
    if rng.random() < _COLOUR_SHARE:
        changed = cv2.LUT(changed, _table((levels - 128) * rng.uniform(0.9, 1.1) + 128 + rng.uniform(-25, 25)))
    if rng.random() < 0.5:
        side = image.shape[0]
        small = cv2.resize(changed, None, fx=(ratio := rng.uniform(0.25, 0.8)), fy=ratio, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (side, side), interpolation=int(rng.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC))))
    soft = cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.8, 2))
    amount = rng.uniform(0.2, 1)
    return cv2.addWeighted(changed, 1 + amount, soft, -amount, 0)


def _table(levels: np.ndarray) -> np.ndarray:
    return np.clip(levels, 0, 255).astype(np.uint8)[np.newaxis]


def _moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = image.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-2, 2), rng.uniform(0.95, 1.05))
    matrix[:, 2] += rng.uniform(-0.03, 0.03, 2) * side
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _mask(crop_px: int, face_px: float, rng: np.random.Generator) -> np.ndarray:
    """Return how much of the source shows, (S, S) float32 0..1: one of the regions, wobbly and with a soft edge."""
    side = max(32, crop_px // 2)  # it is smooth, so half the size will do
    points = np.array(_REGIONS[rng.integers(len(_REGIONS))]) - 0.5
    points = points * rng.uniform(0.85, 1.15, 2) + rng.normal(0, 0.03, points.shape) + rng.uniform(-0.06, 0.06, 2)
    corners = np.round((points * face_px / crop_px + 0.5) * side).astype(np.int32)
    mask = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(corners), (1.0,))
    wobble = rng.normal(0, 1, (2, 8, 8)).astype(np.float32) * np.float32(rng.uniform(0, 0.03) * side)
    shift_x, shift_y = (cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC) for grid in wobble)
    y, x = np.indices((side, side), np.float32)
    mask = cv2.remap(mask, x + shift_x, y + shift_y, cv2.INTER_LINEAR)
    mask = cv2.GaussianBlur(mask, (0, 0), side * rng.uniform(0.004, 0.05))
    if rng.random() < 0.5:  # a second blur of what is left of the first: the paper's way to an edge inside the outline
        mask = cv2.GaussianBlur(np.where(mask > 0.5, mask, 0), (0, 0), side * rng.uniform(0.004, 0.03))
    return np.clip(cv2.resize(mask, (crop_px, crop_px), interpolation=cv2.INTER_LINEAR), 0, 1)
