"""What verify draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..edge.calibration import Thresholds
from ..edge.files import replacing

_COLUMNS = 3


def plot_scores(scores: Mapping[str, np.ndarray], thresholds: Thresholds, path: Path) -> None:
    """Draw each file's p_fake (N,) over the reference's, which comes first, as PNG; off the diagonal is drift."""
    (reference_name, reference), *others = scores.items()
    rows = max(1, math.ceil(len(others) / _COLUMNS))
    figure = Figure(figsize=(4 * _COLUMNS, 4 * rows), dpi=120, layout="constrained")
    for place, (name, p_fake) in enumerate(others, start=1):
        axes = figure.add_subplot(rows, _COLUMNS, place)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        for threshold in (thresholds.real, thresholds.fake):
            axes.axvline(threshold, color="#d55e00", linewidth=0.8, linestyle=":")
            axes.axhline(threshold, color="#d55e00", linewidth=0.8, linestyle=":")
        axes.scatter(reference, p_fake, s=6, color="#0072b2", alpha=0.35, linewidths=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", ylabel="p_fake")
        axes.set_xlabel(f"p_fake, {reference_name}".replace(", ", "\n", 2), fontsize=8)
        axes.set_title(name.replace(", ", "\n", 1), fontsize=8)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})
