"""Verdicts drawn into pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .results import DOUBTS, FaceResult

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

COLOURS: dict[str, Colour] = {"real": (0, 114, 178), "fake": (213, 94, 0), "uncertain": (230, 184, 0)}
"""RGB, told apart by the colour-blind, too (Okabe and Ito 2008); the words say it besides."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MIN_SCALE = 0.4
_WORDS_SHARE = 1.5  # of a box's width, that its words may be wide
_MAX_SMALL_CAPTIONS = 3
_LONGEST_VERDICT = "uncertain 0.00"  # so that all verdicts on faces of one size are of one size
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


def draw_faces(image: np.ndarray, faces: Sequence[FaceResult]) -> None:
    """Frame faces, sorted as in results, in a (H, W, 3) uint8 RGB picture, each with its verdict or doubt above it.

    The frame is thinner where a face is too small to judge and dashed where it may not be a face. Where many are too
    small they have frames alone, for the words would cover the others.
    """
    few_are_small = sum(face.doubt == "too_small" for face in faces) <= _MAX_SMALL_CAPTIONS
    for face in reversed(faces):
        colour, thick = COLOURS[face.verdict], _thickness(image)
        x_min, y_min, x_max, y_max = (round(edge) for edge in face.box_xyxy)
        if face.doubt == "may_not_be_a_face":
            _dashed(image, (x_min, y_min, x_max, y_max), colour, thick + 1)
        else:
            thick = max(thick // 2, 1) if face.doubt == "too_small" else thick + 1
            cv2.rectangle(image, (x_min, y_min), (x_max, y_max), colour, thick, cv2.LINE_AA)
        if few_are_small or face.doubt != "too_small":
            _write(image, words_of(face), x_min, y_min, colour, _WORDS_SHARE * (x_max - x_min))


def words_of(face: FaceResult) -> str:
    """Return the verdict and p_fake of a face, or why there is doubt."""
    return DOUBTS[face.doubt] if face.doubt else f"{face.verdict} {face.p_fake:.2f}"


def draw_line(image: np.ndarray, words: str, paper: Colour = _BLACK) -> None:
    """Write a line of words into the lower left corner of a (H, W, 3) uint8 RGB picture."""
    _write(image, words, 0, image.shape[0], paper, image.shape[1])


def _dashed(image: np.ndarray, box_xyxy: tuple[int, int, int, int], colour: Colour, thick: int) -> None:
    x_min, y_min, x_max, y_max = box_xyxy
    dash, step = 3 * thick, 8 * thick  # the ends of lines are round
    for x in range(x_min, x_max, step):
        for y in (y_min, y_max):
            cv2.line(image, (x, y), (min(x + dash, x_max), y), colour, thick)
    for y in range(y_min, y_max, step):
        for x in (x_min, x_max):
            cv2.line(image, (x, y), (x, min(y + dash, y_max)), colour, thick)


def _write(image: np.ndarray, words: str, x: int, y: int, paper: Colour, room_px: float) -> None:
    """Write words in a box whose lower left corner is at x, y, or as near to that as it fits into the picture.

    They are smaller, as far as they can be read, where they or the longest verdict would be wider than room_px.
    """
    height, width = image.shape[:2]
    full = max(cv2.getTextSize(line, _FONT, _scale(image), 1)[0][0] for line in (words, _LONGEST_VERDICT))
    scale = max(_scale(image) * min(room_px / full, 1), _MIN_SCALE)
    thick = max(round(scale * 2), 1)
    ink = _BLACK if paper == COLOURS["uncertain"] else _WHITE
    (text_width, text_height), below = cv2.getTextSize(words, _FONT, scale, thick)
    x = min(max(x, 0), max(width - text_width - 8, 0))
    y = min(max(y, text_height + below + 6), height)
    cv2.rectangle(image, (x, y - text_height - below - 6), (x + text_width + 8, y), paper, cv2.FILLED)
    cv2.putText(image, words, (x + 4, y - below - 2), _FONT, scale, ink, thick, cv2.LINE_AA)


def _scale(image: np.ndarray) -> float:
    return max(min(image.shape[:2]) / 700, _MIN_SCALE)


def _thickness(image: np.ndarray) -> int:
    return max(round(_scale(image) * 2), 1)
