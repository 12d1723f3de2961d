"""The head's scores made comparable, since a network is surer of some kinds of fakes than of others, and calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from ..edge.crops import network_view, read_crop, read_crop_settings
from ..edge.manifest import Record
from .backbones import HEAD_LAYER, kind_scores
from .batches import SELF_BLEND, room
from .blend import self_blend

MIN_FACES = 20
"""A kind of fewer validation faces is left as it is: the real ones alone would push its score out of reach. A group of
fewer has less weight."""

MAX_TEMPERATURE = 20.0
"""So that a network that knows nothing gets a flat score and one that knows all a finite one: 1 / 20 to 20."""

_BATCH = 64


def scale_kinds(detector: Any, kinds: Sequence[str], crops: Path, validation: Sequence[Record]) -> None:
    """Change the weights of a detector's head so that the scores of its kinds of fakes mean the same.

    Vector scaling (Guo et al. 2017, arXiv:1706.04599) on clean validation crops and, where SELF_BLEND is a kind,
    self-blends of the real ones. kinds name the head's scores.
    """
    pictures = [(record, False) for record in validation]
    if SELF_BLEND in kinds:
        pictures += [(record, True) for record in validation if not record.is_fake]
    groups = np.array([_group(record, blend) for record, blend in pictures])
    known = [column for column, kind in enumerate(kinds) if (groups == kind).sum() >= MIN_FACES]
    if len(known) < 2:
        return
    scores = _scores(detector, pictures, crops)
    is_fake = np.array([blend or record.is_fake for record, blend in pictures])
    used = ~is_fake | np.isin(groups, [kinds[column] for column in known])
    head = detector.get_layer(HEAD_LAYER)
    kernel, bias = head.get_weights()
    factor, offset = np.ones(len(kinds)), np.zeros(len(kinds))
    factor[known], offset[known] = fit_vector_scaling(scores[used][:, known], is_fake[used], groups[used])
    head.set_weights([kernel * factor, bias * factor + offset])


def temper_kinds(detector: Any, crops: Path, chosen: Sequence[Record]) -> None:
    """Calibrate p_fake on clean crops by changing the weights of a detector's head.

    A temperature divides the score of every kind (Guo et al. 2017, arXiv:1706.04599), and a bias is added to it (Platt
    1999). A high temperature makes several kinds that each fit somewhat count for more than one that fits best, which
    is how fakes of unknown sources look.
    """
    scores = _scores(detector, [(record, False) for record in chosen], crops)
    temperature, bias = fit_temperature(scores, np.array([record.is_fake for record in chosen]))
    head = detector.get_layer(HEAD_LAYER)
    kernel, offset = head.get_weights()
    head.set_weights([kernel / temperature, offset / temperature + bias])


def fit_temperature(scores: np.ndarray, is_fake: np.ndarray) -> tuple[float, float]:
    """Return temperature and bias for the kinds' scores (N, K), given labels (N,) bool; both labels count the same.

    They minimise the cross-entropy of sigmoid(logsumexp(scores / temperature) + bias), with a weak prior for (1, 0).
    """
    weights = np.where(is_fake, 0.5 / max(is_fake.sum(), 1), 0.5 / max((~is_fake).sum(), 1))

    def cost(free: np.ndarray) -> float:
        score = np.logaddexp.reduce(scores / np.exp(free[0]), axis=1) + free[1]
        return float(weights @ (np.logaddexp(0, score) - is_fake * score) + (free @ free) / len(scores))

    limits = [(-np.log(MAX_TEMPERATURE), np.log(MAX_TEMPERATURE)), (None, None)]
    starts = [np.array([start, 0.0]) for start in np.log([0.5, 1, 2, 4, 8])]  # the cost is not convex
    best = min((minimize(cost, start, bounds=limits, method="L-BFGS-B") for start in starts), key=lambda fit: fit.fun)
    return float(np.exp(best.x[0])), float(best.x[1])


def fit_vector_scaling(scores: np.ndarray, is_fake: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a factor > 0 and an offset (K,) for each kind's scores (N, K), given labels (N,) bool.

    They minimise the cross-entropy of sigmoid(logsumexp(factor * scores + offset)), with a prior towards (1, 0) that
    weighs as much as one picture. Real and fake count the same, and within each the groups (N,), of a source say, do.
    The factors' geometric mean is then made 1 and the offsets' mean 0: the rest is calibration's.
    """
    _, group = np.unique(groups, return_inverse=True)
    weights = 1 / np.maximum(np.bincount(group), MIN_FACES)[group]
    for label in (False, True):
        weights[is_fake == label] /= weights[is_fake == label].sum()
    kinds, prior = scores.shape[1], 1 / len(scores)

    def cost(free: np.ndarray) -> tuple[float, np.ndarray]:
        factor, offset = np.exp(free[:kinds]), free[kinds:]
        scaled = scores * factor + offset
        any_kind = np.logaddexp.reduce(scaled, axis=1)
        slope = weights * (expit(any_kind) - is_fake)
        by_kind = slope[:, None] * np.exp(scaled - any_kind[:, None])
        gradient = np.concatenate([(by_kind * scores).sum(axis=0) * factor, by_kind.sum(axis=0)])
        value = weights @ (np.logaddexp(0, any_kind) - is_fake * any_kind) + prior * (free @ free)
        return float(value), gradient + 2 * prior * free

    free = minimize(cost, np.zeros(2 * kinds), jac=True, method="L-BFGS-B").x
    log_factor, offset = free[:kinds], free[kinds:]
    common = log_factor.mean()
    return np.exp(log_factor - common), (offset - offset.mean()) * np.exp(-common)


def _group(record: Record, blend: bool) -> str:
    """Return the kind of a fake, or whose real faces it is one of."""
    if blend:
        return SELF_BLEND
    return record.source if record.is_fake else f"{record.source}/real"  # names of sources hold no slash


def _scores(detector: Any, pictures: Sequence[tuple[Record, bool]], crops: Path) -> np.ndarray:
    """Return every kind's score (N, K) of pictures, those with True as self-blends."""
    settings, rng, scores = read_crop_settings(crops), np.random.default_rng(0), []
    network = kind_scores(detector, settings.input_size_px)
    for start in range(0, len(pictures), _BATCH):
        images = []
        for record, blend in pictures[start : start + _BATCH]:
            crop = read_crop(crops, record)
            if blend:
                crop = self_blend(crop, settings.input_size_px / room(record), rng)
            images.append(network_view(crop, record, settings))
        scores.append(network.predict_on_batch(np.stack(images).astype(np.float32)))
    return np.concatenate(scores).astype(np.float64)
