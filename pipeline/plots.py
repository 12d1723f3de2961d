"""The pictures in a run: one place for how plots look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve

from ..edge.calibration import Thresholds
from ..edge.files import replacing
from ..edge.images import read_image
from .history import EpochRow, best_epoch

_STYLES = ("-", "--", "-.", ":", (0, (1, 3)))
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's: told apart by the colour-blind too."""

REAL_COLOUR, FAKE_COLOUR, *_ = COLOURS

mpl.rcParams.update(
    {
        "figure.dpi": 120,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "text.parse_math": False,  # names hold what they hold
    }
)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all, and close it."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def plot_history(history: Sequence[EpochRow], path: Path) -> None:
    """Draw loss, accuracy and validation AUC over the epochs, and which was kept."""
    epochs = [row.epoch for row in history]
    kept = best_epoch(history).epoch
    grown = [row.epoch for before, row in pairwise(history) if row.size_px != before.size_px]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    panels = {
        "Loss": ([row.loss for row in history], [row.validation_loss for row in history]),
        "Accuracy at 0.5": ([row.accuracy for row in history], [row.validation_accuracy for row in history]),
        "Area under the ROC curve": (None, [row.validation_auc for row in history]),
    }
    for axis, (title, (training, validation)) in zip(axes, panels.items(), strict=True):
        if training is not None:
            axis.plot(epochs, training, color="#999999", marker=".", label="training (augmented)")
        axis.plot(epochs, validation, color=REAL_COLOUR, marker=".", label="validation")
        axis.axvline(kept, color="#009e73", linestyle=":", label=f"epoch {kept}, the best at full size, was kept")
        for epoch in grown:
            axis.axvline(epoch - 0.5, color="#999999", linewidth=0.8, label="pictures grow to full size")
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save_figure(figure, path)


def plot_roc(path: Path, scores: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Draw the ROC curve of each condition's (labels, p_fake)."""
    figure, axis = plt.subplots(figsize=(5, 5))
    # Curves may lie on each other; dashes leave room for those below.
    for (name, (labels, p_fake)), colour, style in zip(scores.items(), cycle(COLOURS), cycle(_STYLES), strict=False):
        if labels.all() or not labels.any():
            continue
        false_alarms, found, _ = roc_curve(labels, p_fake)
        label = f"{name}: AUC {roc_auc_score(labels, p_fake):.3f}"
        axis.plot(false_alarms, found, color=colour, linestyle=style, label=label)
    axis.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="guessing")
    axis.set(xlabel="share of real faces called fake", ylabel="share of fakes found", title="ROC", aspect="equal")
    axis.legend(loc="lower right")
    save_figure(figure, path)


def plot_scores(path: Path, p_fake: np.ndarray, labels: np.ndarray, thresholds: Thresholds) -> None:
    """Draw how calibrated p_fake is spread for real and for fake faces, with the band that is called uncertain."""
    figure, axis = plt.subplots(figsize=(7, 4))
    bins = np.linspace(0, 1, 41).tolist()
    axis.axvspan(thresholds.real, thresholds.fake, color="#f0e442", alpha=0.25, label="uncertain")
    axis.hist(p_fake[~labels], bins, color=REAL_COLOUR, alpha=0.6, label=f"real, {int((~labels).sum())} faces")
    axis.hist(p_fake[labels], bins, color=FAKE_COLOUR, alpha=0.6, label=f"fake, {int(labels.sum())} faces")
    axis.set(xlabel="calibrated p_fake", ylabel="faces", title="Scores", xlim=(0, 1))
    axis.legend()
    save_figure(figure, path)


def plot_reliability(path: Path, p_fake: np.ndarray, labels: np.ndarray) -> None:
    """Draw how often the faces of a calibrated p_fake are fake; on the diagonal it means what it says."""
    figure, axis = plt.subplots(figsize=(5, 5))
    share, mean = calibration_curve(labels, p_fake, n_bins=10)
    tenths = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], p_fake))
    for x, y, faces in zip(mean, share, tenths[tenths > 0], strict=True):
        axis.annotate(str(faces), (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axis.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="as it should be")
    brier = brier_score_loss(labels, p_fake, pos_label=True)
    axis.plot(
        mean,
        share,
        color=REAL_COLOUR,
        marker="o",
        label=f"tenths of p_fake, and faces in them; Brier score {brier:.3f}",
    )
    axis.set(xlabel="mean calibrated p_fake", ylabel="share that is fake", title="Reliability", aspect="equal")
    axis.set(xlim=(0, 1), ylim=(0, 1.06))
    axis.legend(loc="upper left", fontsize=8)
    save_figure(figure, path)


def plot_confusion(path: Path, confusion: dict[str, dict[str, int]]) -> None:
    """Draw label against verdict, with numbers and the share of each label."""
    verdicts = list(next(iter(confusion.values())))
    counts = np.array([[row[verdict] for verdict in verdicts] for row in confusion.values()])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(5.5, 3.6))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, f"{count}\n{share:.1%}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(verdicts)), verdicts)
    axis.set_yticks(range(len(confusion)), list(confusion))
    axis.set(xlabel="verdict", ylabel="truth", title="Verdicts at the thresholds")
    axis.grid(visible=False)
    save_figure(figure, path)


def plot_worst(path: Path, real: Sequence[tuple[Path, str]], fake: Sequence[tuple[Path, str]]) -> None:
    """Draw a contact sheet of (picture, caption): real faces scored most fake, fake ones scored most real."""
    columns = max(2, math.ceil(max(len(real), len(fake)) / 2))
    rows = [("Real, yet scored most like a fake", real), ("Fake, yet scored most like a real face", fake)]
    figure = plt.figure(figsize=(1.7 * columns, 8.4), layout="constrained")
    halves: Any = figure.subfigures(2, 1)
    for part, (title, pictures) in zip(halves, rows, strict=True):
        part.suptitle(title if pictures else f"{title}: none", x=0.01, ha="left")
        axes = part.subplots(2, columns, squeeze=False).ravel()
        for axis in axes:
            axis.axis("off")
        for axis, (picture, caption) in zip(axes, pictures, strict=False):
            axis.imshow(read_image(picture))
            axis.set_title(caption, fontsize=6)
    save_figure(figure, path)
