"""A face in a picture, and the squares of a picture that a network is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

Box = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in pixels; may reach past the picture's edge."""

Point = tuple[float, float]
"""x, y in pixels."""

MIN_EYE_DISTANCE = 0.28
"""Of the box's longer side. Faces that look at the camera have .36 to .46 (of 1,684, 5 % less and 5 % more)."""

MAX_NOSE_SHIFT = 0.6
"""Of the eyes' distance, how far the nose may be from the middle between them: .08 in the median, up to .6 in
three-quarter views, more in profiles."""

MIN_MOUTH_DROP = 0.34
"""Of the box's longer side, how far below the eyes the mouth is at least: .41 to .46 (of 1,684, 1 % less)."""


@dataclass(frozen=True)
class Square:
    """A square of a picture, in pixels, turned clockwise about its centre; may reach past the picture's edge."""

    centre_x: float
    centre_y: float
    side_px: float
    roll_degrees: float = 0.0

    def place(self, points_xy: np.ndarray) -> np.ndarray:
        """Return where points (..., 2), in pixels from the square's own upper left corner, lie in the picture."""
        x, y = np.moveaxis(np.asarray(points_xy, np.float64) - self.side_px / 2, -1, 0)
        cos, sin = math.cos(math.radians(self.roll_degrees)), math.sin(math.radians(self.roll_degrees))
        return np.stack([self.centre_x + cos * x - sin * y, self.centre_y + sin * x + cos * y], axis=-1)


@dataclass(frozen=True)
class Face:
    """A face in a picture: its box in pixels, how sure the finder is, 0..1, and six points of it in pixels."""

    box_xyxy: Box
    score: float
    points_xy: tuple[Point, ...] = ()
    """Right eye (the person's), left eye, nose, mouth, right ear, left ear; empty where nobody looked for them."""

    @property
    def centre_xy(self) -> Point:
        """The middle of the box."""
        x_min, y_min, x_max, y_max = self.box_xyxy
        return (x_min + x_max) / 2, (y_min + y_max) / 2

    @property
    def size_px(self) -> float:
        """The longer side of the box."""
        x_min, y_min, x_max, y_max = self.box_xyxy
        return max(x_max - x_min, y_max - y_min)

    @property
    def roll_degrees(self) -> float:
        """How far the line of the eyes is turned from level, clockwise as seen, -180..180."""
        if not self.points_xy:
            return 0.0
        (right_x, right_y), (left_x, left_y) = self.points_xy[:2]
        return math.degrees(math.atan2(left_y - right_y, left_x - right_x))

    @property
    def is_frontal(self) -> bool:
        """Whether eyes, nose and mouth lie as in a face that looks at the camera; profiles and hidden faces do not."""
        if not self.points_xy:
            return True
        points = np.array(self.points_xy[:4])
        angle = -math.radians(self.roll_degrees)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        right, left, nose, mouth = (points - points[:2].mean(axis=0)) @ turn.T / max(self.size_px, 1e-9)
        eyes = left[0] - right[0]
        return bool(
            eyes >= MIN_EYE_DISTANCE
            and abs(nose[0]) <= MAX_NOSE_SHIFT * eyes
            and 0 < nose[1] < mouth[1] >= MIN_MOUTH_DROP
        )

    def scaled(self, factor: float) -> Face:
        """Return the same face in a picture that is enlarged by factor."""
        x_min, y_min, x_max, y_max = (edge * factor for edge in self.box_xyxy)
        points = tuple((x * factor, y * factor) for x, y in self.points_xy)
        return Face((x_min, y_min, x_max, y_max), self.score, points)


def largest_face(faces: Iterable[Face]) -> Face:
    """Return the face with the largest box; faces must not be empty."""
    return max(faces, key=lambda face: face.size_px)
