"""Verdicts drawn into pictures."""

from __future__ import annotations

import cv2
import numpy as np

from .faces import Box

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

COLOURS: dict[str, Colour] = {"real": (0, 114, 178), "fake": (213, 94, 0), "uncertain": (230, 184, 0)}
"""RGB, told apart by the colour-blind, too (Okabe and Ito 2008); the words say it besides."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


def draw_face(image: np.ndarray, box_xyxy: Box, verdict: str, p_fake: float) -> None:
    """Frame a face in a (H, W, 3) uint8 RGB picture, with its verdict and p_fake above it, in the picture's bounds."""
    colour, thick = COLOURS[verdict], _thickness(image)
    x_min, y_min, x_max, y_max = (round(edge) for edge in box_xyxy)
    cv2.rectangle(image, (x_min, y_min), (x_max, y_max), colour, thick + 1, cv2.LINE_AA)
    _write(image, f"{verdict} {p_fake:.2f}", x_min, y_min, colour)


def draw_line(image: np.ndarray, words: str, paper: Colour = _BLACK) -> None:
    """Write a line of words into the lower left corner of a (H, W, 3) uint8 RGB picture."""
    _write(image, words, 0, image.shape[0], paper)


def _write(image: np.ndarray, words: str, x: int, y: int, paper: Colour) -> None:
    """Write words in a box whose lower left corner is at x, y, or as near to that as it fits into the picture."""
    height, width = image.shape[:2]
    scale, thick = _scale(image), _thickness(image)
    ink = _BLACK if paper == COLOURS["uncertain"] else _WHITE
    (text_width, text_height), below = cv2.getTextSize(words, _FONT, scale, thick)
    x = min(max(x, 0), max(width - text_width - 8, 0))
    y = min(max(y, text_height + below + 6), height)
    cv2.rectangle(image, (x, y - text_height - below - 6), (x + text_width + 8, y), paper, cv2.FILLED)
    cv2.putText(image, words, (x + 4, y - below - 2), _FONT, scale, ink, thick, cv2.LINE_AA)


def _scale(image: np.ndarray) -> float:
    return max(min(image.shape[:2]) / 700, 0.4)


def _thickness(image: np.ndarray) -> int:
    return max(round(_scale(image) * 2), 1)
