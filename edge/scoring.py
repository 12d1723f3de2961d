"""Scores of stored crops, whatever predicts them: training, evaluation and export all look at the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .errors import DatasetError, ImageError
from .faces import centre
from .images import read_image
from .manifest import Record

_BATCH = 64


def read_crop(crops: Path, record: Record) -> np.ndarray:
    """Return a stored crop, (S, S, 3) uint8 RGB; raises DatasetError naming the file when it cannot be read."""
    try:
        return read_image(crops / record.path)
    except ImageError as error:
        raise DatasetError(f"{crops / record.path}: {error}; make the crops again with: facetell crop") from error


def score_crops(
    predict: Callable[[np.ndarray], np.ndarray],
    crops: Path,
    records: Sequence[Record],
    size_px: int,
    change: Callable[[np.ndarray], np.ndarray] = lambda image: image,
) -> np.ndarray:
    """Return raw p_fake (N,) of the crops' centres, each after change((S, S, 3) uint8 RGB).

    predict takes (B, S, S, 3) float32 RGB 0..255 and returns (B, 1).
    """
    scores = []
    for start in range(0, len(records), _BATCH):
        chosen = records[start : start + _BATCH]
        images = [change(centre(read_crop(crops, record), size_px)) for record in chosen]
        scores.append(predict(np.stack(images).astype(np.float32))[:, 0])
    return np.concatenate(scores)
