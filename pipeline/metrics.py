"""How good scores are: of one set of faces under one condition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score, roc_curve

from ..edge.calibration import Thresholds
from ..edge.tables import Table

BY_GROUP = ", by group"
"""Stands behind a set's name where the means of groups are measured: of clips, where groups are videos."""

_BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Metrics:
    """Of one set under one condition; what needs both labels is None where a set has but one."""

    real: int
    fake: int
    accuracy: float
    """At a calibrated p_fake of 0.5, as precision, recall and F1 of the fakes."""
    precision: float | None
    recall: float | None
    f1: float | None
    auc: float | None
    auc_low: float | None
    """The 95 % interval, from a stratified bootstrap."""
    auc_high: float | None
    eer: float | None
    """The error rate at the threshold where as many reals are called fake as fakes real."""
    found_at_1: float | None
    """Share of the fakes that score above all but 1 % of the reals."""
    brier: float
    """Mean squared error of calibrated p_fake."""
    accuracy_at_threshold: float
    """Where fake is what reaches the upper threshold, and all else is real."""
    real_called_fake: float | None
    """Shares at the run's thresholds."""
    fake_called_real: float | None
    uncertain: float


def measure(p_fake: np.ndarray, is_fake: np.ndarray, thresholds: Thresholds) -> Metrics:
    """Return the metrics of calibrated scores (N,) for labels (N,) bool."""
    real, fake = int((~is_fake).sum()), int(is_fake.sum())
    called = p_fake >= 0.5
    both = real > 0 and fake > 0
    precision, recall, f1, _ = precision_recall_fscore_support(is_fake, called, average="binary", zero_division=0)  # pyright: ignore[reportArgumentType]
    low, high = auc_interval(p_fake, is_fake) if both else (None, None)
    judged_fake, judged_real = p_fake >= thresholds.fake, p_fake <= thresholds.real
    return Metrics(
        real=real,
        fake=fake,
        accuracy=float(accuracy_score(is_fake, called)),
        precision=float(precision) if both else None,
        recall=float(recall) if both else None,
        f1=float(f1) if both else None,
        auc=float(roc_auc_score(is_fake, p_fake)) if both else None,
        auc_low=low,
        auc_high=high,
        eer=equal_error_rate(p_fake, is_fake) if both else None,
        found_at_1=found_at(p_fake, is_fake, 0.01) if both else None,
        brier=float(np.mean((p_fake - is_fake) ** 2)),
        accuracy_at_threshold=float(accuracy_score(is_fake, judged_fake)),
        real_called_fake=float(judged_fake[~is_fake].mean()) if real else None,
        fake_called_real=float(judged_real[is_fake].mean()) if fake else None,
        uncertain=float((~judged_fake & ~judged_real).mean()),
    )


def found_at(p_fake: np.ndarray, is_fake: np.ndarray, false_alarms: float) -> float:
    """Return the share of the fakes that score above all but a share of the reals, 0..1."""
    return float((p_fake[is_fake] > np.quantile(p_fake[~is_fake], 1 - false_alarms, method="inverted_cdf")).mean())


def source_groups(sources: np.ndarray, is_fake: np.ndarray) -> dict[str, np.ndarray]:
    """Return the masks (N,) by name of what is measured: each source, lone fakes against every real face, and all."""
    groups = {str(name): sources == name for name in np.unique(sources)}
    lone = [name for name, chosen in groups.items() if is_fake[chosen].all()] if not is_fake.all() else []
    groups |= {f"{name} against all real": groups[name] | ~is_fake for name in lone}
    return groups | {"all": np.ones(len(sources), bool)}


def per_group(p_fake: np.ndarray, is_fake: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean p_fake (G,) and the label (G,) of each group, from its faces' (N,) and the group each is of."""
    _, first, group, faces = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    return np.bincount(group, p_fake) / faces, is_fake[first]


def equal_error_rate(p_fake: np.ndarray, is_fake: np.ndarray) -> float:
    """Return where the ROC curve, drawn straight between its points, crosses from (0, 1) to (1, 0)."""
    false_alarms, found, _ = roc_curve(is_fake, p_fake)
    missed_less = false_alarms + found - 1  # rises from -1 to 1
    return float(np.interp(0, missed_less, false_alarms))


def auc_interval(p_fake: np.ndarray, is_fake: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of the AUC over bootstraps that keep the number of each label."""
    rng = np.random.default_rng(seed)
    real, fake = p_fake[~is_fake], p_fake[is_fake]
    aucs = [_auc(rng.choice(real, len(real)), rng.choice(fake, len(fake))) for _ in range(_BOOTSTRAPS)]
    low, high = np.percentile(aucs, [2.5, 97.5])
    return float(low), float(high)


def _auc(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the share of (real, fake) pairs in which the fake scores higher, ties counting half."""
    real = np.sort(real)
    below, up_to = np.searchsorted(real, fake, "left"), np.searchsorted(real, fake, "right")
    return float((below + up_to).mean() / (2 * len(real)))


def metrics_table(results: dict[str, dict[str, Metrics]], kind: str = "condition", of: str = "set") -> Table:
    """Return a table of metrics by condition and source, or whatever the first two columns are called."""
    head = (
        *(kind, of, "real / fake", "AUC", "EER", "found at 1 %"),
        *("accuracy", "precision", "recall", "F1", "Brier"),
        *("accuracy at threshold", "real called fake", "fake called real", "uncertain"),
    )
    rows = []
    for condition, by_source in results.items():
        for source, m in by_source.items():
            auc = "-" if m.auc is None else f"{m.auc:.3f} ({m.auc_low:.3f}-{m.auc_high:.3f})"
            scores = (m.eer, m.found_at_1, m.accuracy, m.precision, m.recall, m.f1, m.brier, m.accuracy_at_threshold)
            shares = (m.real_called_fake, m.fake_called_real, m.uncertain)
            cells = [condition, source, f"{m.real} / {m.fake}", auc]
            cells += ["-" if value is None else f"{value:.3f}" for value in scores]
            cells += ["-" if share is None else f"{share:.1%}" for share in shares]
            rows.append(cells)
    return Table(head, rows)
