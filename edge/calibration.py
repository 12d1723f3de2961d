"""From a network's raw score to a probability one can act on, and to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

FALSE_ALARM_SHARE = 0.05
"""At most this share of the real faces of any source is called fake, under every condition of
conditions.THRESHOLD_CONDITIONS; of the faces that choose the thresholds."""

MISSED_SHARE = 0.15
"""At most this share of the fake faces of any source is called real, likewise."""

_LOGIT_LIMIT = 13.8  # p within 1e-6, the digits that results show: nothing is said to be sure
_APART = 1e-3  # at most, of a threshold from a face: at its score it would turn on the last bit
_GAP = 2e-6  # no smaller one holds a threshold
_MAX_STEPS = 100
_CONVERGED = 1e-9
_MIN_SLOPE = 0.05  # a model that knows nothing gets a flat score, never a reversed one
_MIN_FACES = 20  # a source with fewer faces of a label has no say in the thresholds


Verdict = Literal["real", "fake", "uncertain"]
"""Of a face."""


@dataclass(frozen=True)
class Calibration:
    """Platt's correction: p_fake = sigmoid(logit(raw) / temperature + bias) (Platt 1999; Guo et al. 2017)."""

    temperature: float = 1.0
    bias: float = 0.0

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Return the calibrated p_fake of raw scores 0..1, same shape, float64."""
        return _sigmoid(logit(raw) / self.temperature + self.bias)


@dataclass(frozen=True)
class Thresholds:
    """fake at or above one, real at or below the other, uncertain between; outside 0..1 where no score is sure."""

    real: float
    fake: float
    chosen_at: str
    """What they were chosen for, in words."""

    def verdict(self, p_fake: float) -> Verdict:
        """Return fake, real or uncertain."""
        if p_fake >= self.fake:
            return "fake"
        return "real" if p_fake <= self.real else "uncertain"


@dataclass(frozen=True)
class ErrorRate:
    """What one threshold does to validation faces."""

    threshold: float
    false_alarms: float
    """Share of real faces called fake."""
    missed: float
    """Share of fake faces called real."""


def error_rates(p_fake: np.ndarray, labels: np.ndarray) -> list[ErrorRate]:
    """Return the rates at thresholds from .05 to .95, and .99, given p_fake (N,) and is_fake (N,) with both labels."""
    thresholds = [*(round(step / 20, 2) for step in range(1, 20)), 0.99]
    return [
        ErrorRate(
            threshold,
            round(float((p_fake[~labels] >= threshold).mean()), 4),
            round(float((p_fake[labels] < threshold).mean()), 4),
        )
        for threshold in thresholds
    ]


def logit(probability: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) in float64, limited to +-13.8."""
    clipped = np.clip(np.asarray(probability, np.float64), 1 - _MAX_P, _MAX_P)
    return np.log(clipped / (1 - clipped))


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))  # never overflows


_MAX_P = float(_sigmoid(np.array(_LOGIT_LIMIT)))


def fit_calibration(raw: np.ndarray, is_fake: np.ndarray) -> Calibration:
    """Fit temperature and bias to raw scores (N,) and labels (N,) bool, both labels counting the same.

    The cross-entropy with a weak prior towards (1, 0) is convex in (1 / temperature, bias), so Newton's method with
    halved steps finds its one minimum; without the prior it would be at infinity where the scores separate the labels.
    """
    features = np.stack([logit(raw), np.ones(len(raw))], axis=1)
    target = is_fake.astype(np.float64)
    weights = np.where(is_fake, 0.5 / max(target.mean(), 1e-9), 0.5 / max(1 - target.mean(), 1e-9))
    prior = np.array([1.0, 0.0])

    def cost(slope_bias: np.ndarray) -> float:
        z = features @ slope_bias
        return float(weights @ (np.logaddexp(0, z) - target * z) + ((slope_bias - prior) ** 2).sum() / 2)

    slope_bias = prior
    for _ in range(_MAX_STEPS):
        probability = _sigmoid(features @ slope_bias)
        gradient = features.T @ (weights * (probability - target)) + slope_bias - prior
        curvature = weights * probability * (1 - probability)
        step = np.linalg.solve((features * curvature[:, None]).T @ features + np.eye(2), gradient)
        while cost(slope_bias - step) > cost(slope_bias) and np.abs(step).max() > _CONVERGED:
            step = step / 2
        slope_bias = slope_bias - step
        if np.abs(step).max() <= _CONVERGED:
            break
    slope = max(float(slope_bias[0]), _MIN_SLOPE)
    return Calibration(temperature=1 / slope, bias=float(slope_bias[1]))


def choose_thresholds(
    p_fake: Mapping[str, np.ndarray], is_fake: np.ndarray, sources: Sequence[str], split: str = "validation"
) -> Thresholds:
    """Choose thresholds from calibrated scores (N,) of a split's faces by condition.

    Under no condition does any source break the stated shares. The upper threshold is never below 0.5 and the lower
    never above. Sources with fewer than 20 faces of a label have no say.
    """
    source = np.asarray(sources)
    upper, lower = 0.5, 0.5
    heard = 0
    for scores, name in product(p_fake.values(), np.unique(source)):
        real, fake = scores[(source == name) & ~is_fake], scores[(source == name) & is_fake]
        if len(real) >= _MIN_FACES:
            upper, heard = max(upper, _beyond(real, FALSE_ALARM_SHARE)), heard + 1
        if len(fake) >= _MIN_FACES:
            lower, heard = min(lower, 1 - _beyond(1 - fake, MISSED_SHARE)), heard + 1
    words = (
        f"at most {FALSE_ALARM_SHARE:.0%} of the real and {MISSED_SHARE:.0%} of the fake {split} faces of any "
        f"source with at least {_MIN_FACES} of them fall on the wrong side ({', '.join(p_fake)})"
    )
    if not heard:
        words = f"both 0.5, for no source has {_MIN_FACES} real or {_MIN_FACES} fake {split} faces to choose them by"
    return Thresholds(real=round(lower, 7), fake=round(upper, 7), chosen_at=words)


def _beyond(p: np.ndarray, share: float) -> float:
    """Return a score that at most a share of p reach: in a gap between two of them, or beyond the last."""
    ordered = np.sort(p)
    tail = np.append(ordered[-1 - int(share * len(ordered)) :], ordered[-1] + 2 * _APART)
    gaps = np.diff(tail)
    first = np.argmax(gaps > _GAP)
    return float(tail[first] + min(gaps[first] / 2, _APART))
