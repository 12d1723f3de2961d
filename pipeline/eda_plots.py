"""The pictures of a data set before training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ..edge.errors import printable
from ..edge.manifest import LABELS
from .plots import FAKE_COLOUR, REAL_COLOUR, save_figure
from .survey import Seen

_COLOUR_OF: dict[str, str] = dict(zip(LABELS, (REAL_COLOUR, FAKE_COLOUR), strict=True))

_MAX_ROWS = 40
_NAMED_SIZES = 8
COLUMNS = 8
"""Of a sheet of pictures."""

Read = Callable[[Seen], np.ndarray]
"""Gives the pixels of a picture, (H, W, 3) uint8 RGB."""


def plot_classes(path: Path, seen: Sequence[Seen]) -> None:
    """Draw how many pictures are real and how many fake, as a pie."""
    counts = Counter(one.record.label for one in seen)
    labels = [label for label in LABELS if counts[label]]
    figure, axis = plt.subplots(figsize=(4.6, 4))
    _, _, shares = axis.pie(
        [counts[label] for label in labels],
        labels=[f"{label}\n{counts[label]}" for label in labels],
        colors=[_COLOUR_OF[label] for label in labels],
        autopct="%.1f %%",
        startangle=90,
        counterclock=False,
        wedgeprops={"width": 0.55, "edgecolor": "white", "linewidth": 2},
        pctdistance=0.72,
        textprops={"fontsize": 11},
    )
    plt.setp(shares, color="white", fontweight="bold")
    save_figure(figure, path)


def plot_counts(path: Path, seen: Sequence[Seen], key: Callable[[Seen], str], names: Sequence[str]) -> None:
    """Draw how many real and fake pictures there are of each of the first 40 names, which key gives, as bars."""
    counts = Counter((key(one), one.record.label) for one in seen)
    names = names[:_MAX_ROWS]
    rows = np.arange(len(names))
    figure, axis = plt.subplots(figsize=(6, 1.2 + 0.62 * len(names)))
    for number, label in enumerate(LABELS):
        bars = axis.barh(
            rows + (number - 0.5) * 0.4, [counts[name, label] for name in names], 0.36, color=_COLOUR_OF[label]
        )
        axis.bar_label(bars, padding=4, fontsize=9)
        bars.set_label(label)
    axis.set_yticks(rows, [_short(name) for name in names])
    axis.invert_yaxis()
    axis.set(xlabel="pictures")
    axis.margins(x=0.12)
    axis.grid(visible=False, axis="y")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.32 / (1.2 + 0.62 * len(names))), ncols=2)
    save_figure(figure, path)


def plot_sizes(path: Path, seen: Sequence[Seen]) -> None:
    """Draw width against height of every picture."""
    figure, axis = plt.subplots(figsize=(5.6, 4.6))
    for label in LABELS:
        sizes = Counter((one.traits.width, one.traits.height) for one in seen if one.record.label == label)
        if sizes:
            places = np.array(list(sizes))
            area = 18 + 400 * np.array(list(sizes.values())) / len(seen)
            axis.scatter(places[:, 0], places[:, 1], area, _COLOUR_OF[label], alpha=0.45, label=label, linewidths=0)
    every = {(one.traits.width, one.traits.height) for one in seen}
    if len(every) <= _NAMED_SIZES:
        for width, height in every:
            name = f"{width} x {height}"
            axis.annotate(name, (width, height), (9, 9), textcoords="offset points", fontsize=8, ha="center")
    axis.margins(0.15)
    axis.set(xlabel="width, pixels", ylabel="height, pixels")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter("{x:.0f}")
    legend = axis.legend()
    for handle in legend.legend_handles:
        handle.set_sizes([40])  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    save_figure(figure, path)


def plot_spread(path: Path, seen: Sequence[Seen], value: Callable[[Seen], float], axis_title: str) -> None:
    """Draw how a measure is spread over the real and over the fake pictures, in shares of each."""
    values = {label: [value(one) for one in seen if one.record.label == label] for label in LABELS}
    known = [value for of_label in values.values() for value in of_label]
    low, high = min(known), max(known)
    bins = np.linspace(low, high if high > low else low + 1, 41).tolist()
    figure, axis = plt.subplots(figsize=(5.6, 3.4))
    for label, of_label in values.items():
        if of_label:
            weights = np.full(len(of_label), 100 / len(of_label))
            axis.hist(of_label, bins, weights=weights, color=_COLOUR_OF[label], alpha=0.55, label=label)
            axis.axvline(float(np.median(of_label)), color=_COLOUR_OF[label], linewidth=1.4, linestyle="--")
    axis.set(xlabel=axis_title, ylabel="% of the label's pictures")
    axis.legend(title="median dashed")
    save_figure(figure, path)


def label_and_split(one: Seen) -> str:
    """Return what stands over a picture."""
    return ", ".join(filter(None, (one.record.label, one.record.split)))


def plot_sheet(
    path: Path, rows: Sequence[tuple[str, Sequence[Seen]]], read: Read, words: Callable[[Seen], str] = label_and_split
) -> None:
    """Draw rows of pictures under titles, each picture with its words: its label, and its split where it has one."""
    heights = [math.ceil(len(pictures) / COLUMNS) for _, pictures in rows]
    figure = plt.figure(figsize=(1.55 * COLUMNS, sum(1.72 * height + 0.3 for height in heights)), layout="constrained")
    parts: Any = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)
    for part, (title, pictures), height in zip(parts.ravel(), rows, heights, strict=True):
        if title:
            part.suptitle(title, x=0.01, ha="left", fontsize=10)
        axes = part.subplots(height, COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.axis("off")
        for axis, one in zip(axes, pictures, strict=False):
            axis.imshow(read(one)[:: _step(one), :: _step(one)])
            axis.set_title(words(one), fontsize=8, color=_COLOUR_OF[one.record.label], pad=2)
    save_figure(figure, path)


def _step(one: Seen) -> int:
    # A sheet shows some 180 pixels of each; whole photos would fill the memory.
    return max(1, min(one.traits.width, one.traits.height) // 360)


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 24 else f"{name[:23]}…"
