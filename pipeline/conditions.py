"""Scores under the conditions that detectors are measured under: worse pixels, and faces that lie otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..edge.blazeface import BlazeFace
from ..edge.bundle import DEFAULT_BUNDLE, FACE_DETECTOR
from ..edge.conditions import CONDITIONS
from ..edge.crops import CropSettings, network_view, read_crop, read_crop_settings
from ..edge.cut import centre, crop_face, resize_face, saved_size_px
from ..edge.finder import HINT_SCORE, FaceFinder, is_sure
from ..edge.manifest import Record
from ..edge.scoring import Predict
from .batches import room

TILT_DEGREES = 25.0
SMALL_FACE_PX = 64

_BATCH = 64

Move = Callable[[np.ndarray, Record, float], np.ndarray]


def _tilted(crop: np.ndarray, record: Record, face_px: float) -> np.ndarray:
    side, degrees = len(crop), TILT_DEGREES if _to_the_left(record) else -TILT_DEGREES
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1)
    return cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def _on_its_side(crop: np.ndarray, record: Record, face_px: float) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(crop, 1 if _to_the_left(record) else 3))


def _small(crop: np.ndarray, record: Record, face_px: float) -> np.ndarray:
    side = round(len(crop) * min(1.0, SMALL_FACE_PX / face_px))
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)


def _to_the_left(record: Record) -> bool:
    """Return one answer for half of all pictures, always the same for one of them."""
    return record.sha256[-1:] in tuple("13579bdf")


MOVES: dict[str, Move] = {"tilted": _tilted, "on its side": _on_its_side, "small": _small}
"""Condition -> what it makes of a stored crop, (S, S, 3) uint8 RGB, of a record, whose face box has face_px pixels:
tilted by 25 degrees, turned by 90, or with a face of 64 pixels. The face is then found again, as by a scan."""

EVERY = (*CONDITIONS, *MOVES)


def score_condition(predict: Predict, crops: Path, records: Sequence[Record], condition: str) -> np.ndarray:
    """Return raw p_fake (N,) of crops under a condition; NaN where the face is not found again."""
    settings = read_crop_settings(crops)
    refind = _Refinder(settings) if condition in MOVES else None
    scores = np.full(len(records), np.nan)
    for start in range(0, len(records), _BATCH):
        batch = records[start : start + _BATCH]
        shown: dict[int, np.ndarray] = {}
        for index, record in enumerate(batch, start):
            crop = read_crop(crops, record)
            if refind is None:
                view = CONDITIONS[condition](network_view(crop, record, settings))
            else:
                view = refind(MOVES[condition](crop, record, settings.input_size_px / room(record)))
            if view is not None:
                shown[index] = view
        if shown:
            scores[list(shown)] = predict(np.stack(list(shown.values())).astype(np.float32))[:, 0]
    return scores


class _Refinder:
    """Finds the face of a moved crop as a scan would, and cuts it; for use in one thread."""

    def __init__(self, settings: CropSettings) -> None:
        """Cut as the settings say."""
        content = (DEFAULT_BUNDLE / FACE_DETECTOR).read_bytes()
        self._finder, self._settings = FaceFinder(BlazeFace(content, min_score=HINT_SCORE)), settings

    def __call__(self, image: np.ndarray) -> np.ndarray | None:
        """Return the (S, S, 3) uint8 RGB crop of the network's input size; None where no face is sure."""
        size_px = self._settings.input_size_px
        if self._settings.pre_cropped:
            return centre(resize_face(image, size_px=saved_size_px(size_px)), size_px)
        faces = [face for face in self._finder.find(image) if is_sure(face)]
        if not faces:
            return None
        middle = np.array(image.shape[1::-1]) / 2
        face = min(faces, key=lambda face: float(np.linalg.norm(np.array(face.centre_xy) - middle)))
        return crop_face(
            image,
            face.box_xyxy,
            size_px=size_px,
            margin_ratio=self._settings.margin_ratio,
            shown_ratio=self._settings.shown_ratio,
            roll_degrees=face.roll_degrees,
        )
