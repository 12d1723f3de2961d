"""BlazeFace short range (Bazarevsky et al. 2019, arXiv:1907.05047), as MediaPipe runs it.

The same letterbox, anchors, score clipping and weighted non-maximum suppression, so that its boxes and points are
MediaPipe's.
"""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np

from .errors import ModelError
from .faces import Square
from .runtime import TFLiteModel

SIDE_PX = 128
"""Of BlazeFace's input."""

_SHAPES = ((1, SIDE_PX, SIDE_PX, 3), (1, 896, 16), (1, 896, 1))
_GRIDS = ((16, 2), (8, 6))  # cells a side, anchors a cell
_SCORE_LIMIT = 80.0  # MediaPipe's score_clipping_thresh is 100, where exp overflows float32; 80 decides the same
_NMS_MIN_IOU = 0.3


class _Input(threading.local):
    """What one thread shows the network; as large an array anew for each look would cost a tenth of a scan."""

    def __init__(self) -> None:
        self.pixels = np.empty(_SHAPES[0], np.float32)


class BlazeFace:
    """Finds faces in letterboxed squares, in a TFLite runtime."""

    def __init__(self, content: bytes, *, min_score: float, runtime: str = "auto") -> None:
        """Load it from the bytes of face_detector.tflite; raises what TFLiteModel raises."""
        self.model = TFLiteModel(content, runtime)
        shapes = (self.model.input_shape, *self.model.output_shapes)
        if shapes != _SHAPES:
            raise ModelError(f"the face detector has the shapes {shapes}; wanted BlazeFace short range, {_SHAPES}")
        # In logits, so that all but a few of the 896 anchors are passed over unseen.
        self._min_logit = math.log(min_score / (1 - min_score)) if 0 < min_score < 1 else math.inf * (min_score - 0.5)
        self._anchors_xy = _anchor_centres()
        self._input = _Input()

    def __call__(self, patch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """Return the faces in a (128, 128, 3) uint8 RGB patch, best first, each with its score.

        A face is (8, 2) float64, in the patch's pixels: two corners of its box and the six points of faces.Face.
        """
        pixels = self._input.pixels
        np.divide(patch, np.float32(127.5), out=pixels[0])
        pixels -= 1
        regressors, logits = self.model.run(pixels)
        likely = np.flatnonzero(logits[0, :, 0] >= self._min_logit)
        if not len(likely):
            return []
        return _weighted_nms(*_decode(regressors[0][likely], logits[0, likely, 0], self._anchors_xy[likely]))


def letterbox(image: np.ndarray, square: Square) -> np.ndarray:
    """Return what BlazeFace is shown of a square of a (H, W, 3) uint8 RGB picture, (128, 128, 3); black beyond it."""
    # As MediaPipe: corner to corner, not centre to centre; unsmoothed; and by a perspective transform through these
    # four points in float32, whose rounding differs from warpAffine's by up to 1.5 px in a box.
    side = square.side_px
    corners = square.place(np.array([[0, side], [0, 0], [side, 0], [side, side]])).astype(np.float32)
    target = np.array([[0, SIDE_PX], [0, 0], [SIDE_PX, 0], [SIDE_PX, SIDE_PX]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    return cv2.warpPerspective(image, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR)


def _anchor_centres() -> np.ndarray:
    """Return the (896, 2) centres of the anchors in pixels of the input."""
    centres = []
    for cells, anchors_per_cell in _GRIDS:
        y, x = np.divmod(np.arange(cells * cells), cells)
        centre_xy = (np.stack([x, y], axis=1) + 0.5) * (SIDE_PX / cells)
        centres.append(np.repeat(centre_xy, anchors_per_cell, axis=0))
    return np.concatenate(centres).astype(np.float32)


def _decode(regressors: np.ndarray, logits: np.ndarray, anchors_xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two corners of each box and six points, (N, 8, 2) in the input's pixels, and scores (N,)."""
    numbers, anchors_xy = regressors.reshape(-1, 8, 2).astype(np.float64), anchors_xy[:, np.newaxis]
    centres_xy, half_sizes, points_xy = numbers[:, :1] + anchors_xy, numbers[:, 1:2] / 2, numbers[:, 2:] + anchors_xy
    faces = np.concatenate([centres_xy - half_sizes, centres_xy + half_sizes, points_xy], axis=1)
    return faces, 1 / (1 + np.exp(-np.clip(logits, -_SCORE_LIMIT, _SCORE_LIMIT)))


def _weighted_nms(faces: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Merge faces whose boxes overlap into their mean weighted by score, as MediaPipe does."""
    order = np.argsort(-scores, kind="stable")
    faces, scores = faces[order], scores[order]
    merged = []
    while len(faces):
        overlaps = _iou(faces[0, :2], faces[:, :2]) > _NMS_MIN_IOU
        overlaps[0] = True  # a box without area overlaps nothing, not even itself
        merged.append((np.average(faces[overlaps], axis=0, weights=scores[overlaps]), float(scores[0])))
        faces, scores = faces[~overlaps], scores[~overlaps]
    return merged


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box (2, 2), two corners, with others (N, 2, 2)."""
    corners = np.stack([np.maximum(box[0], boxes[:, 0]), np.minimum(box[1], boxes[:, 1])], axis=1)
    intersection = _area(corners)
    return intersection / np.maximum(_area(box[np.newaxis]) + _area(boxes) - intersection, 1e-9)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 1] - boxes[:, 0], 0), axis=1)
