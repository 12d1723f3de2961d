"""Where the faces are in a picture, and the square that the classifier sees of each.

The finder is BlazeFace short range (Bazarevsky et al. 2019, arXiv:1907.05047) as MediaPipe runs it: the same letterbox,
anchors, score clipping and weighted non-maximum suppression, so that its boxes are MediaPipe's to the pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .errors import ModelError
from .runtime import TFLiteModel

Box = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in pixels; may reach past the picture's edge."""

_SIDE_PX = 128  # BlazeFace's input
_SHAPES = ((1, 128, 128, 3), (1, 896, 16), (1, 896, 1))
_GRIDS = ((16, 2), (8, 6))  # cells a side, anchors a cell
_SCORE_LIMIT = 80.0  # MediaPipe's score_clipping_thresh is 100, where exp overflows float32; 80 decides the same
_NMS_MIN_IOU = 0.3


@dataclass(frozen=True)
class Face:
    """A face in a picture: its box in pixels and how sure the finder is, 0..1."""

    box_xyxy: Box
    score: float

    def scaled(self, factor: float) -> Face:
        """Return the same face in a picture that is enlarged by factor."""
        x_min, y_min, x_max, y_max = self.box_xyxy
        return Face((x_min * factor, y_min * factor, x_max * factor, y_max * factor), self.score)


class FaceFinder:
    """Finds faces with BlazeFace in a TFLite runtime."""

    def __init__(self, content: bytes, *, min_score: float, runtime: str = "auto") -> None:
        """Load the finder from the bytes of face_detector.tflite; raises what TFLiteModel raises."""
        self.model = TFLiteModel(content, runtime)
        shapes = (self.model.input_shape, *self.model.output_shapes)
        if shapes != _SHAPES:
            raise ModelError(f"the face detector has the shapes {shapes}; wanted BlazeFace short range, {_SHAPES}")
        # In logits, so that all but a few of the 896 anchors are passed over unseen.
        self._min_logit = math.log(min_score / (1 - min_score)) if 0 < min_score < 1 else math.inf * (min_score - 0.5)
        self._anchors_xy = _anchor_centres()
        self._input = np.empty(_SHAPES[0], np.float32)

    def find(self, image: np.ndarray) -> list[Face]:
        """Return the faces in a (H, W, 3) uint8 RGB picture, best score first."""
        height, width = image.shape[:2]
        scale = _SIDE_PX / max(height, width)
        offset = ((_SIDE_PX - width * scale) / 2, (_SIDE_PX - height * scale) / 2)
        np.divide(_letterbox(image), np.float32(127.5), out=self._input[0])
        self._input -= 1
        regressors, logits = self.model.run(self._input)
        likely = np.flatnonzero(logits[0, :, 0] >= self._min_logit)
        if not len(likely):
            return []
        boxes, scores = _decode(regressors[0][likely], logits[0, likely, 0], self._anchors_xy[likely])
        return [
            Face(
                (
                    float((box[0] - offset[0]) / scale),
                    float((box[1] - offset[1]) / scale),
                    float((box[2] - offset[0]) / scale),
                    float((box[3] - offset[1]) / scale),
                ),
                float(score),
            )
            for box, score in _weighted_nms(boxes, scores)
        ]


def largest_face(faces: list[Face]) -> Face:
    """Return the face with the largest box; faces must not be empty."""
    return max(faces, key=lambda face: _area(np.array([face.box_xyxy]))[0])


def crop_face(
    image: np.ndarray, box_xyxy: Box, *, size_px: int, margin_ratio: float, surround_ratio: float = 1.0
) -> np.ndarray:
    """Cut the square around a face box as (size_px, size_px, 3) uint8 RGB.

    The square's side is margin_ratio times the box's longer side; it is moved, and if need be shrunk, into the picture,
    so that a verdict rests on real pixels alone. surround_ratio > 1 returns that much more around the same square,
    mirrored beyond the picture's edge: its centre is the crop of ratio 1, pixel for pixel at the same pitch.

    Pixels are averaged in whole blocks while two or more of them fall on one of the crop's, then sampled bilinearly.
    """
    centre_x, centre_y, side = face_square(image, box_xyxy, margin_ratio=margin_ratio)
    return _sample_square(image, centre_x, centre_y, side * surround_ratio, size_px)


def face_square(image: np.ndarray, box_xyxy: Box, *, margin_ratio: float) -> tuple[float, float, float]:
    """Return centre x, centre y and side, in pixels, of the square that crop_face cuts; it lies within the picture."""
    height, width = image.shape[:2]
    x_min, y_min, x_max, y_max = box_xyxy
    side = min(margin_ratio * max(x_max - x_min, y_max - y_min), height, width)
    centre_x = min(max((x_min + x_max) / 2, side / 2), width - side / 2)
    centre_y = min(max((y_min + y_max) / 2, side / 2), height - side / 2)
    return centre_x, centre_y, side


def resize_face(image: np.ndarray, *, size_px: int) -> np.ndarray:
    """Resize the centre square of a picture that is a face crop already to (size_px, size_px, 3) uint8 RGB."""
    height, width = image.shape[:2]
    return crop_face(image, (0, 0, width, height), size_px=size_px, margin_ratio=1)


def centre(crop: np.ndarray, size_px: int) -> np.ndarray:
    """Return the centre (size_px, size_px, 3) of a larger square crop."""
    start = (crop.shape[0] - size_px) // 2
    return crop[start : start + size_px, start : start + size_px]


def saved_size_px(input_size_px: int) -> int:
    """Return the side of the crops that are stored for training, a seventh larger (256 for 224) to allow shifts.

    The rim is as wide on every side, so that the centre shows what a plain crop would.
    """
    return input_size_px + 2 * round(input_size_px / 14)


def _letterbox(image: np.ndarray) -> np.ndarray:
    # As MediaPipe: corner to corner, not centre to centre; unsmoothed; and by a perspective transform through these
    # four points in float32, whose rounding differs from warpAffine's by up to 1.5 px in a box.
    height, width = image.shape[:2]
    side = max(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    corners = np.array([[left, top + side], [left, top], [left + side, top], [left + side, top + side]], np.float32)
    target = np.array([[0, _SIDE_PX], [0, 0], [_SIDE_PX, 0], [_SIDE_PX, _SIDE_PX]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    return cv2.warpPerspective(image, matrix, (_SIDE_PX, _SIDE_PX), flags=cv2.INTER_LINEAR)


def _anchor_centres() -> np.ndarray:
    """Return the (896, 2) centres of the anchors in pixels of the finder's input."""
    centres = []
    for cells, anchors_per_cell in _GRIDS:
        y, x = np.divmod(np.arange(cells * cells), cells)
        centre_xy = (np.stack([x, y], axis=1) + 0.5) * (_SIDE_PX / cells)
        centres.append(np.repeat(centre_xy, anchors_per_cell, axis=0))
    return np.concatenate(centres).astype(np.float32)


def _decode(regressors: np.ndarray, logits: np.ndarray, anchors_xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, 4) xyxy in the finder's input pixels and scores (N,)."""
    centres_xy, sizes = regressors[:, 0:2] + anchors_xy, regressors[:, 2:4]
    boxes = np.concatenate([centres_xy - sizes / 2, centres_xy + sizes / 2], axis=1)
    return boxes, 1 / (1 + np.exp(-np.clip(logits, -_SCORE_LIMIT, _SCORE_LIMIT)))


def _weighted_nms(boxes: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Merge overlapping boxes into their mean weighted by score, as MediaPipe does."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    merged = []
    while len(boxes):
        overlaps = _iou(boxes[0], boxes) > _NMS_MIN_IOU
        overlaps[0] = True  # a box without area overlaps nothing, not even itself
        merged.append((np.average(boxes[overlaps], axis=0, weights=scores[overlaps]), float(scores[0])))
        boxes, scores = boxes[~overlaps], scores[~overlaps]
    return merged


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    corners = np.concatenate([np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])], axis=1)
    intersection = _area(corners)
    return intersection / np.maximum(_area(box[np.newaxis]) + _area(boxes) - intersection, 1e-9)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def _sample_square(image: np.ndarray, centre_x: float, centre_y: float, side: float, size_px: int) -> np.ndarray:
    pitch = max(side, 1.0) / size_px  # picture pixels for one of the crop
    block = max(1, int(pitch))
    left, top = centre_x - pitch * size_px / 2, centre_y - pitch * size_px / 2
    # The blocks that the square touches, and one more on each side for the interpolation.
    first_x, first_y = math.floor(left / block) - 1, math.floor(top / block) - 1
    blocks = math.ceil(pitch * size_px / block) + 3
    patch = _mirrored_patch(image, first_x * block, first_y * block, blocks * block)
    if block > 1:
        patch = cv2.resize(patch, (blocks, blocks), interpolation=cv2.INTER_AREA)
    # Pixel centres: the crop's i-th lies at left + (i + 1/2) pitch, the j-th block's at (j + 1/2) block.
    step = pitch / block
    start_x, start_y = ((edge + pitch / 2) / block - 0.5 - first for edge, first in ((left, first_x), (top, first_y)))
    matrix = np.array([[step, 0, start_x], [0, step, start_y]])
    return cv2.warpAffine(patch, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _mirrored_patch(image: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    x_from, y_from = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    x_to, y_to = min(max(x + side, x_from + 1), width), min(max(y + side, y_from + 1), height)
    inside = image[y_from:y_to, x_from:x_to]
    rims = (max(y_from - y, 0), max(y + side - y_to, 0), max(x_from - x, 0), max(x + side - x_to, 0))
    return cv2.copyMakeBorder(inside, *rims, cv2.BORDER_REFLECT_101) if any(rims) else inside
