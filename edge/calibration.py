"""From a network's raw score to a probability one can act on, and to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FALSE_ALARM_SHARE = 0.03
"""At most this share of the real validation faces of any source is called fake."""

MISSED_SHARE = 0.10
"""At most this share of the fake validation faces of any source is called real."""

_LOGIT_LIMIT = 8.0  # p within 0.0003..0.9997: an int8 score of exactly 0 or 1 stays finite
_APART = 1e-3  # a threshold that is a face's own score would turn on the last bit of the arithmetic
_MIN_FACES = 20  # a source with fewer faces of a label has no say in the thresholds


@dataclass(frozen=True)
class Calibration:
    """Platt's correction: p_fake = sigmoid(logit(raw) / temperature + bias) (Platt 1999; Guo et al. 2017)."""

    temperature: float = 1.0
    bias: float = 0.0

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Return the calibrated p_fake of raw scores 0..1, same shape, float64."""
        return 1 / (1 + np.exp(-(logit(raw) / self.temperature + self.bias)))


@dataclass(frozen=True)
class Thresholds:
    """fake at or above one, real at or below the other, uncertain between."""

    real: float
    fake: float
    chosen_at: str
    """What they were chosen for, in words."""

    def verdict(self, p_fake: float) -> str:
        """Return fake, real or uncertain."""
        if p_fake >= self.fake:
            return "fake"
        return "real" if p_fake <= self.real else "uncertain"


def logit(probability: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) in float64, limited to +-8."""
    limit = 1 / (1 + np.exp(_LOGIT_LIMIT))
    clipped = np.clip(np.asarray(probability, np.float64), limit, 1 - limit)
    return np.log(clipped / (1 - clipped))


def fit_calibration(raw: np.ndarray, is_fake: np.ndarray) -> Calibration:
    """Fit temperature and bias to raw scores (N,) and labels (N,) bool, both labels counting the same.

    Newton's method on the cross-entropy, which is convex in (1 / temperature, bias). Where the scores separate the
    labels wholly the optimum is at infinity, so a weak prior towards (1, 0) holds it.
    """
    features = np.stack([logit(raw), np.ones(len(raw))], axis=1)
    target = is_fake.astype(np.float64)
    weights = np.where(is_fake, 0.5 / max(target.mean(), 1e-9), 0.5 / max(1 - target.mean(), 1e-9))
    prior, precision = np.array([1.0, 0.0]), 1.0
    slope_bias = prior.copy()
    for _ in range(50):
        probability = 1 / (1 + np.exp(-features @ slope_bias))
        gradient = features.T @ (weights * (probability - target)) + precision * (slope_bias - prior)
        curvature = weights * probability * (1 - probability)
        hessian = (features * curvature[:, None]).T @ features + precision * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        slope_bias = slope_bias - step
        if np.abs(step).max() < 1e-9:
            break
    slope = max(slope_bias[0], 0.05)  # a model that knows nothing gets a flat score, never a reversed one
    return Calibration(temperature=float(1 / slope), bias=float(slope_bias[1]))


def choose_thresholds(p_fake: np.ndarray, is_fake: np.ndarray, sources: Sequence[str]) -> Thresholds:
    """Choose thresholds from calibrated scores (N,) of validation faces, so that no source breaks the stated shares.

    The upper one is never below 0.5 and the lower never above.
    """
    source = np.asarray(sources)
    upper, lower = [0.5], [0.5]
    for name in np.unique(source):
        real, fake = p_fake[(source == name) & ~is_fake], p_fake[(source == name) & is_fake]
        if len(real) >= _MIN_FACES:
            upper.append(np.quantile(real, 1 - FALSE_ALARM_SHARE, method="higher") + _APART)
        if len(fake) >= _MIN_FACES:
            lower.append(np.quantile(fake, MISSED_SHARE, method="lower") - _APART)
    words = (
        f"at most {FALSE_ALARM_SHARE:.0%} of the real and {MISSED_SHARE:.0%} of the fake validation faces of any "
        "source fall on the wrong side"
    )
    return Thresholds(real=round(float(min(lower)), 4), fake=round(float(max(upper)), 4), chosen_at=words)
