"""The head's scores made comparable: a network is surer of some kinds of fakes than of others; the highest counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.optimize import minimize

from ..edge.crops import read_crop
from ..edge.faces import centre
from ..edge.manifest import Record
from .backbones import HEAD_LAYER
from .batches import SELF_BLEND
from .blend import self_blend

_BATCH = 64


def scale_kinds(
    detector: Any, crops: Path, validation: Sequence[Record], size_px: int, face_px: float, self_blends: bool
) -> None:
    """Change the weights of a detector's head so that the scores of its kinds of fakes mean the same.

    Vector scaling (Guo et al. 2017, arXiv:1706.04599) on clean validation crops and, where the head has a score for
    them, self-blends of the real ones. Nothing changes where there is one kind alone.
    """
    head = detector.get_layer(HEAD_LAYER)
    if head.units == 1:
        return
    behind = detector.layers[detector.layers.index(head) + 1]  # head.output may be that of the network in training
    scored = keras.Model(detector.input, behind.input)
    rng = np.random.default_rng(0)
    pictures = [(record, False) for record in validation]
    pictures += [(record, True) for record in validation if self_blends and not record.is_fake]
    scores = []
    for start in range(0, len(pictures), _BATCH):
        chosen = [(read_crop(crops, record), blend) for record, blend in pictures[start : start + _BATCH]]
        images = [centre(self_blend(crop, face_px, rng) if blend else crop, size_px) for crop, blend in chosen]
        scores.append(scored.predict_on_batch(np.stack(images).astype(np.float32)))
    is_fake = np.array([blend or record.is_fake for record, blend in pictures])
    groups = [SELF_BLEND if blend else f"{record.source}/{record.label}" for record, blend in pictures]
    factor, offset = fit_vector_scaling(np.concatenate(scores), is_fake, groups)
    kernel, bias = head.get_weights()
    head.set_weights([kernel * factor, bias * factor + offset])


def fit_vector_scaling(scores: np.ndarray, is_fake: np.ndarray, groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return a factor > 0 and an offset (K,) for each kind's scores (N, K), given labels (N,) bool.

    They minimise the cross-entropy of sigmoid(logsumexp(factor * scores + offset)). Real and fake count the same, and
    within each the groups, of a source say, do. A prior towards (1, 0) that weighs as much as one picture keeps what
    the data say nothing of.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    weights = 1 / np.bincount(group)[group]
    for label in (False, True):
        weights[is_fake == label] /= weights[is_fake == label].sum()
    kinds, prior = scores.shape[1], 1 / len(scores)

    def cost(free: np.ndarray) -> tuple[float, np.ndarray]:
        factor, offset = np.exp(free[:kinds]), free[kinds:]
        scaled = scores * factor + offset
        any_kind = np.logaddexp.reduce(scaled, axis=1)
        slope = weights * (1 / (1 + np.exp(-any_kind)) - is_fake)
        by_kind = slope[:, None] * np.exp(scaled - any_kind[:, None])
        gradient = np.concatenate([(by_kind * scores).sum(axis=0) * factor, by_kind.sum(axis=0)])
        value = weights @ (np.logaddexp(0, any_kind) - is_fake * any_kind) + prior * (free @ free)
        return float(value), gradient + 2 * prior * free

    free = minimize(cost, np.zeros(2 * kinds), jac=True, method="L-BFGS-B").x
    return np.exp(free[:kinds]), free[kinds:]
