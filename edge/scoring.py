"""Scores of stored crops, whatever predicts them: training, evaluation and export all look at the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .crops import read_crop
from .faces import centre
from .manifest import Record

_BATCH = 64


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
