"""How much of the label gives itself away: what a file and its light tell of it without a look at the face."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..edge.manifest import Record
from ..edge.tables import Table
from .traits import FEATURES, Traits

MIN_PICTURES, MIN_GROUPS = 20, 5
"""Of each label; fewer say nothing."""


@dataclass(frozen=True)
class Leak:
    """How well the real pictures of one source are told from the fake ones of the same or another."""

    real_source: str
    fake_source: str
    real: int
    fake: int
    auc: float
    """Of a logistic regression on all features, cross-validated by group."""
    auc_by_feature: dict[str, float]
    """Of each feature by itself, whichever way round: 0.5..1."""


def find_leaks(measured: Sequence[tuple[Record, Traits]]) -> list[Leak]:
    """Return what the traits of pictures tell of their labels.

    The rows are the sources that hold both labels, then the pairs of sources in which one lacks the other's label, then
    all together; but for those of fewer than 20 pictures in 5 groups of both labels.
    """
    groups = defaultdict(list)
    for record, _ in measured:
        for source in (record.source, "all"):
            groups[source, record.label].append(record.group)
    enough = {of for of, names in groups.items() if len(names) >= MIN_PICTURES and len(set(names)) >= MIN_GROUPS}
    leaks = []
    for real_source, fake_source in _pairs([record for record, _ in measured]):
        if {(real_source, "real"), (fake_source, "fake")} <= enough:
            chosen = [
                (record, found)
                for record, found in measured
                if (fake_source if record.is_fake else real_source) in (record.source, "all")
            ]
            leaks.append(_leak(real_source, fake_source, chosen))
    return leaks


def leak_table(leaks: Sequence[Leak]) -> Table:
    """Return a table of leaks, each with the three features that tell most."""
    rows = []
    for leak in leaks:
        strongest = sorted(leak.auc_by_feature.items(), key=lambda item: -item[1])[:3]
        most_by = ", ".join(f"{name} {auc:.2f}" for name, auc in strongest)
        cells = (leak.real_source, leak.fake_source, f"{leak.real} / {leak.fake}", f"{leak.auc:.2f}", most_by)
        rows.append(cells)
    return Table(("real of", "fake of", "real / fake", "AUC", "most by"), rows)


def _pairs(records: Sequence[Record]) -> list[tuple[str, str]]:
    real = sorted({record.source for record in records if not record.is_fake})
    fake = sorted({record.source for record in records if record.is_fake})
    both = [(source, source) for source in real if source in fake]
    across = [(a, b) for a in real for b in fake if a != b and (a not in fake or b not in real)]
    pairs = [*both, *across]
    return [*pairs, ("all", "all")] if len(pairs) > 1 else pairs


def _leak(real_source: str, fake_source: str, chosen: Sequence[tuple[Record, Traits]]) -> Leak:
    labels = np.array([record.is_fake for record, _ in chosen])
    values = np.stack([found.features for _, found in chosen])
    groups = [record.group for record, _ in chosen]
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    folds = StratifiedGroupKFold(MIN_GROUPS, shuffle=True, random_state=0)
    scores = cross_val_predict(model, values, labels, groups=groups, cv=folds, method="decision_function")
    by_feature = {
        name: max(auc := float(roc_auc_score(labels, values[:, column])), 1 - auc)
        for column, name in enumerate(FEATURES)
    }
    auc = float(roc_auc_score(labels, scores))
    return Leak(real_source, fake_source, int((~labels).sum()), int(labels.sum()), auc, by_feature)
