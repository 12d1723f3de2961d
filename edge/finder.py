"""Every face in a picture: the large ones at once, then closer looks for the small, the turned and the doubtful."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from .blazeface import SIDE_PX, letterbox
from .faces import Face, Square

Detect = Callable[[np.ndarray], "list[tuple[np.ndarray, float]]"]
"""Finds faces in a letterboxed patch, as blazeface.BlazeFace does."""

HINT_SCORE = 0.2
"""At least, for something to be worth a closer look. What detects must return everything from here on."""

MIN_SCORE = 0.5
"""At least, in a look at the whole picture, for something to be reported though it may not be a face."""

SURE_SCORE = 0.78
"""At least, in the closest look, for a face to be one."""

CLEAR_SCORE = 0.85
"""At least, for a face to need no closer look, and for its picture to be upright without a doubt."""

_LARGE_SHARE = 0.25
"""Of the picture's longer side: a face as large has to be sure to say which way its picture is turned, others clear."""

_CLEAR_SHARE, _CLEAR_DEGREES = 0.15, 12.0
"""Of the square looked at: a clear face is as large, and at most so tilted."""

_MAX_TILT_DEGREES = 60.0

_CLOSE_RATIO = 2.0
"""Side of a closer look over the longer side of the box; black beyond the picture, which a tight crop needs."""

_SEEN_SHARE = 0.07
"""Of the side of a square looked at: smaller faces are missed, and many below a tenth."""

_PART_RATIO = 0.57
"""Side of the parts of a square over its own: a face on the seam is whole in one of them."""

_SMALL_SHARE = 0.22
"""Of a square's side: two smaller faces are a reason to look at its parts, one that is not clear at those around it."""

_MIN_PART_PX, _MIN_UNPROMPTED_PX = SIDE_PX, 3.5 * SIDE_PX
"""Of the smallest parts: where a small face was seen, and, of parts of parts, where one can have been missed."""

_MAX_LOOKS, _MAX_HINTS = 256, 512
"""In one search; half of the looks are for closer ones. A class photo needs 85 and 160, a crowd all looks and 320."""

_ASKED = 3
"""At most so many small faces decide whether the picture is upside down."""

_SAME_SHARE = 0.5  # of the smaller box that lies in the other


class FaceFinder:
    """Finds the faces of pictures, in as many threads at once as what it looks with."""

    def __init__(self, detect: Detect) -> None:
        """Look with what finds faces in a patch, at every score from HINT_SCORE on."""
        self._detect = detect

    def find(self, image: np.ndarray, *, smallest_px: float | None = None) -> list[Face]:
        """Return the faces in a (H, W, 3) uint8 RGB picture, the surest first.

        Those below SURE_SCORE may not be faces. Parts of the picture are searched for small faces if any of
        smallest_px, the smallest that matters, can have been missed in the whole; not at all if it is None. Where no
        face is clear, or the small ones look upside down, the picture may lie on its side or upside down, and is
        looked at in these ways, too.
        """
        faces = self._search(image, 0.0, smallest_px)
        if smallest_px is not None and _Search(self._detect, image, 0.0, smallest_px).is_upside_down(faces):
            turned_over = self._search(image, 180.0, smallest_px)
            if _sum_of_sure_scores(turned_over) > _sum_of_sure_scores(faces):
                return turned_over
        upright = _best_score(faces, 0.0)
        if upright >= CLEAR_SCORE:
            return faces
        turned = {degrees: self._turned_score(image, degrees) for degrees in (90.0, -90.0, 180.0)}
        degrees = max(turned, key=turned.__getitem__)
        return self._search(image, degrees, smallest_px) if turned[degrees] > upright else faces

    def _turned_score(self, image: np.ndarray, degrees: float) -> float:
        """Return the best believed score of a picture that is taken to be turned clockwise by some degrees."""
        faces = self._search(image, degrees, None)
        return _best_score((face for face in faces if _shows_turn(face, image)), degrees)

    def _search(self, image: np.ndarray, roll_degrees: float, smallest_px: float | None) -> list[Face]:
        return _Search(self._detect, image, roll_degrees, smallest_px).faces()


def is_sure(face: Face) -> bool:
    """Return whether the finder is sure of a face."""
    return face.score >= SURE_SCORE


class _Search:
    """One search of a picture that is taken to be turned clockwise by some degrees."""

    def __init__(self, detect: Detect, image: np.ndarray, roll_degrees: float, smallest_px: float | None) -> None:
        self._detect, self._image, self._smallest_px = detect, image, smallest_px
        self._looks = 0
        height, width = image.shape[:2]
        self._whole = Square(width / 2, height / 2, max(width, height), roll_degrees)

    def faces(self) -> list[Face]:
        """Return the faces, the surest first."""
        seen = self._seen()
        closest = [self._closest(face, seen[face]) for face in _distinct(seen)]
        return _distinct(face for face in closest if face)

    def _seen(self) -> dict[Face, Square]:
        """Look at the whole and, where there may be small faces, at ever smaller parts; return what was seen where."""
        seen: dict[Face, Square] = {}
        waiting = deque([self._whole])
        while waiting and self._looks < _MAX_LOOKS // 2 and len(seen) < _MAX_HINTS:
            square = waiting.popleft()
            clear = [face for face in seen if face.score >= CLEAR_SCORE]  # what is seen in such a face is a part of it
            faces = [
                face
                for face in self._look(square)
                if (square is self._whole or _is_whole(face, square)) and not any(_is_same(face, c) for c in clear)
            ]
            seen |= dict.fromkeys(faces, square)
            waiting += self._parts_worth_a_look(square, faces)
        return seen

    def _parts_worth_a_look(self, square: Square, faces: list[Face]) -> list[Square]:
        side = _PART_RATIO * square.side_px
        if self._smallest_px is None or side < _MIN_PART_PX:
            return []
        height, width = self._image.shape[:2]
        parts = [
            Square(x, y, side, square.roll_degrees)
            for y in _centres(square.centre_y, square.side_px, height, side)
            for x in _centres(square.centre_x, square.side_px, width, side)
        ]
        small = [face for face in faces if face.size_px < _SMALL_SHARE * square.side_px]
        may_have_missed = self._smallest_px < _SEEN_SHARE * square.side_px
        is_group = len(_distinct(small)) > 1
        if is_group or (may_have_missed and (square is self._whole or side >= _MIN_UNPROMPTED_PX)):
            return parts
        unclear = [face for face in small if not _is_clear(face, square)]
        return [part for part in parts if any(_is_whole(face, part) for face in unclear)]

    def _closest(self, face: Face, square: Square) -> Face | None:
        """Return a face as a closer, upright look shows it, or None if it is not worth reporting."""
        if _is_clear(face, square):
            return face
        known = face
        for _ in range(2):  # the first look at a face on its side shows it half turned
            close = _closer(known)
            known = max(self._same(face, close), key=_score, default=None)
            if not known or known.score < MIN_SCORE:
                break
            is_level = _tilt(known, close.roll_degrees) <= _MAX_TILT_DEGREES / 2
            is_turned = _tilt(known, square.roll_degrees) > _MAX_TILT_DEGREES
            if is_sure(known) and is_level and (not is_turned or _shows_turn(known, self._image)):
                return known
        if square is not self._whole or face.score < MIN_SCORE:
            return None
        known = known or face
        return replace(known, score=min(max(face.score, known.score), np.nextafter(SURE_SCORE, 0)))

    def is_upside_down(self, faces: list[Face]) -> bool:
        """Return whether most of the surest small faces that seem upright are surer upside down.

        BlazeFace takes some small faces that are upside down for upright ones, large ones never.
        """
        upright = [face for face in faces if is_sure(face) and face.is_frontal and _tilt(face, 0) <= _MAX_TILT_DEGREES]
        if any(_is_clear(face, self._whole) for face in upright):
            return False
        asked = [face for face in upright if face.size_px >= (self._smallest_px or 0)][:_ASKED]
        turned = [max(map(_score, self._same(face, _closer(face, 180))), default=0.0) for face in asked]
        return 2 * sum(score > face.score for score, face in zip(turned, asked, strict=True)) > len(asked)

    def _same(self, face: Face, square: Square) -> list[Face]:
        """Return what a look at a square shows of a face."""
        return [again for again in self._look(square) if _is_same(again, face)]

    def _look(self, square: Square) -> list[Face]:
        if self._looks >= _MAX_LOOKS or square.side_px < 1:
            return []
        self._looks += 1
        scale = square.side_px / SIDE_PX
        return [
            _placed(points * scale, score, square) for points, score in self._detect(letterbox(self._image, square))
        ]


def _placed(points_xy: np.ndarray, score: float, square: Square) -> Face:
    """Return a face of a square in the picture: its box keeps its size, and is not turned."""
    half_x, half_y = (points_xy[1] - points_xy[0]) / 2
    (x, y), *points = square.place(np.concatenate([points_xy[:2].mean(axis=0, keepdims=True), points_xy[2:]])).tolist()
    return Face((x - half_x, y - half_y, x + half_x, y + half_y), score, tuple((px, py) for px, py in points))


def _closer(face: Face, turned_degrees: float = 0.0) -> Square:
    """Return the square of a closer look at a face, turned further if need be."""
    # In whole pixels and degrees: runtimes differ in the last digits, and a look must not depend on them.
    return Square(*map(round, (*face.centre_xy, _CLOSE_RATIO * face.size_px, face.roll_degrees + turned_degrees)))


def _is_clear(face: Face, square: Square) -> bool:
    """Return whether a face seen in a square needs no closer look."""
    is_large = face.size_px >= _CLEAR_SHARE * square.side_px
    return face.score >= CLEAR_SCORE and is_large and _tilt(face, square.roll_degrees) <= _CLEAR_DEGREES


def _tilt(face: Face, roll_degrees: float) -> float:
    """Return by how many degrees a face is turned from a direction, 0..180."""
    return abs((face.roll_degrees - roll_degrees + 180) % 360 - 180)


def _centres(middle: float, side_px: float, picture_px: int, part_px: float) -> list[float]:
    """Return, along one side of the picture, the centres of the parts that cover what a square shows of it."""
    first, last = max(0.0, middle - side_px / 2), min(float(picture_px), middle + side_px / 2)
    return [(first + last) / 2] if last - first <= part_px else [first + part_px / 2, last - part_px / 2]


def _distinct(faces: Iterable[Face]) -> list[Face]:
    """Return the faces, the surest first, less those that lie in a surer one or around it."""
    distinct: list[Face] = []
    for face in sorted(faces, key=_score, reverse=True):
        if not any(_is_same(face, known) for known in distinct):
            distinct.append(face)
    return distinct


def _shows_turn(face: Face, image: np.ndarray) -> bool:
    """Return whether a face is believed though it is turned: there are three more chances to see what is none."""
    is_large = face.size_px >= _LARGE_SHARE * max(image.shape[:2])
    return face.is_frontal and face.score >= (SURE_SCORE if is_large else CLEAR_SCORE)


def _best_score(faces: Iterable[Face], roll_degrees: float) -> float:
    """Return the best score of the frontal faces that are about as turned."""
    return max((f.score for f in faces if f.is_frontal and _tilt(f, roll_degrees) <= _MAX_TILT_DEGREES), default=0.0)


def _sum_of_sure_scores(faces: Iterable[Face]) -> float:
    return sum(face.score for face in faces if is_sure(face))


def _score(face: Face) -> float:
    return face.score


def _is_whole(face: Face, square: Square) -> bool:
    """Return whether a square, turned by quarters, shows a face as a whole: half a face at a seam is another's."""
    (x, y), reach = face.centre_xy, square.side_px / 2 - 0.45 * face.size_px
    return abs(x - square.centre_x) <= reach and abs(y - square.centre_y) <= reach


def _is_same(one: Face, other: Face) -> bool:
    (a, b, c, d), (e, f, g, h) = one.box_xyxy, other.box_xyxy
    shared = _area(max(a, e), max(b, f), min(c, g), min(d, h))
    return shared > _SAME_SHARE * min(_area(a, b, c, d), _area(e, f, g, h))


def _area(x_min: float, y_min: float, x_max: float, y_max: float) -> float:
    return max(x_max - x_min, 0) * max(y_max - y_min, 0)  # the network may give a box of negative width
