"""How much of the label gives itself away: what a file and its light tell of it without a look at the face."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..edge.errors import DatasetError, ImageError
from ..edge.images import read_image
from ..edge.manifest import LABELS, Record, read_manifest

FEATURES = (
    *("width", "height", "bytes per pixel", "JPEG table", "brightness", "contrast", "saturation", "sharpness"),
    *("border brightness", "border contrast"),
)

_MIN_PICTURES = 20
"""Of each label; fewer say nothing."""

_FOLDS = 5
_BORDER_SHARE = 0.04


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


def audit(dataset: Path, *, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Leak]:
    """Return what trivial features tell of the label, in a merged data set or in crops.

    The rows are the sources that hold both labels, then the pairs of sources in which one lacks the other's label, then
    all together. Pictures that cannot be read are passed over.

    Raises DatasetError when there is no source, nor pair, with 20 readable pictures in 5 groups of both labels.
    """
    records = read_manifest(dataset)
    found: list[np.ndarray | None] = []
    with ThreadPoolExecutor() as threads:
        for features in threads.map(lambda record: _features(dataset / record.path), records):
            found.append(features)
            progress(len(found), len(records))
    readable = [(record, features) for record, features in zip(records, found, strict=True) if features is not None]
    leaks = []
    for real_source, fake_source in _pairs(records):
        chosen = [
            (record, features)
            for record, features in readable
            if (fake_source if record.is_fake else real_source) in (record.source, "all")
        ]
        labels = np.array([record.is_fake for record, _ in chosen])
        if _is_enough(chosen):
            leaks.append(_leak(real_source, fake_source, chosen, labels))
    if not leaks:
        raise DatasetError(
            f"{dataset} has too few readable pictures; wanted {_MIN_PICTURES} real and {_MIN_PICTURES} fake ones, each "
            f"of at least {_FOLDS} groups"
        )
    return leaks


def leak_table(leaks: Sequence[Leak]) -> list[str]:
    """Return the lines of a Markdown table of leaks."""
    lines = ["| real of | fake of | real / fake | AUC | most by |", "|---|---|---|---|---|"]
    for leak in leaks:
        strongest = sorted(leak.auc_by_feature.items(), key=lambda item: -item[1])[:3]
        most_by = ", ".join(f"{name} {auc:.2f}" for name, auc in strongest)
        cells = (leak.real_source, leak.fake_source, f"{leak.real} / {leak.fake}", f"{leak.auc:.2f}", most_by)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _pairs(records: Sequence[Record]) -> list[tuple[str, str]]:
    real = sorted({record.source for record in records if not record.is_fake})
    fake = sorted({record.source for record in records if record.is_fake})
    both = [(source, source) for source in real if source in fake]
    across = [(a, b) for a in real for b in fake if a != b and (a not in fake or b not in real)]
    return [*both, *across, ("all", "all")]


def _is_enough(chosen: Sequence[tuple[Record, np.ndarray]]) -> bool:
    of_label = {label: [record.group for record, _ in chosen if record.label == label] for label in LABELS}
    return all(len(groups) >= _MIN_PICTURES and len(set(groups)) >= _FOLDS for groups in of_label.values())


def _leak(real_source: str, fake_source: str, chosen: Sequence[tuple[Record, np.ndarray]], labels: np.ndarray) -> Leak:
    values = np.stack([features for _, features in chosen])
    groups = [record.group for record, _ in chosen]
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(model, values, labels, groups=groups, cv=folds, method="decision_function")
    by_feature = {
        name: max(auc := float(roc_auc_score(labels, values[:, column])), 1 - auc)
        for column, name in enumerate(FEATURES)
    }
    auc = float(roc_auc_score(labels, scores))
    return Leak(real_source, fake_source, int((~labels).sum()), int(labels.sum()), auc, by_feature)


def _features(path: Path) -> np.ndarray | None:
    """Return FEATURES (10,) of a picture, or None when it cannot be read."""
    try:
        image = read_image(path)
    except ImageError:
        return None
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    rim = max(1, round(min(height, width) * _BORDER_SHARE))
    inner = np.zeros(grey.shape, bool)
    inner[rim : height - rim, rim : width - rim] = True
    border = grey[~inner]
    saturation = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[:, :, 1]
    sharpness = math.log(float(cv2.Laplacian(grey, cv2.CV_64F).var()) + 1)
    return np.array(
        [
            *(width, height, path.stat().st_size / (width * height), _jpeg_table(path)),
            *(grey.mean(), grey.std(), saturation.mean(), sharpness, border.mean(), border.std()),
        ]
    )


def _jpeg_table(path: Path) -> float:
    """Return the mean of a JPEG's luminance quantisation table, which grows as its quality falls; 0 for no JPEG."""
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            tables = getattr(image, "quantization", {})
    except Image.UnidentifiedImageError:
        return 0.0
    return float(np.mean(tables[0])) if 0 in tables else 0.0
