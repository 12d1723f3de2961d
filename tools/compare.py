"""Trained runs side by side: how well each tells the faces of every source, how large and how fast it is."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from ..convert.tflite import convert
from ..edge.conditions import CONDITIONS, THRESHOLD_CONDITIONS
from ..edge.errors import DatasetError
from ..edge.files import write_text
from ..edge.run import MODEL_FILE, Run
from ..pipeline.backbones import load_model
from ..pipeline.evaluate import REPORT_JSON, SCORES, default_folder, evaluate
from ..pipeline.metrics import auc_interval, source_groups
from ..pipeline.plots import COLOURS, save_figure

TABLE, FIGURES, PLOT = "comparison.md", "comparison.json", "comparison.png"


@dataclass(frozen=True)
class Auc:
    """An area under the ROC curve and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """One run, or the mean of all."""

    name: str
    backbone: str
    auc: dict[str, dict[str, Auc]]
    """Condition -> source, or 'all' -> AUC, where there are both labels."""
    size_bytes: int
    """Of its float32 .tflite file."""
    latency_ms: float
    """Of one invocation of it in one thread."""


@dataclass(frozen=True)
class _Scores:
    """What evaluate left: paths, sources (N,), labels (N,) bool and calibrated p_fake (N,) by condition."""

    paths: list[str]
    sources: np.ndarray
    is_fake: np.ndarray
    p_fake: dict[str, np.ndarray]


def compare(
    runs: Sequence[Path],
    output: Path,
    *,
    split: str = "validation",
    ensemble: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> list[Compared]:
    """Measure finished runs on one split and write comparison.md, comparison.json and comparison.png to output.

    Runs that were not evaluated on the split yet are. With ensemble, the mean of all runs' p_fake is measured, too.

    Raises DatasetError when a folder holds no finished run or the runs were split differently.
    """
    known = [Run.read(folder) for folder in runs]
    if len({run.split_sha256 for run in known}) > 1:
        raise DatasetError("the runs were trained on different pictures or splits; compare those of one crops folder")
    scores = []
    for folder in runs:
        if not (default_folder(folder, split) / REPORT_JSON).exists():
            progress(f"evaluating {folder}")
            evaluate(folder, split=split)
        scores.append(_read_scores(default_folder(folder, split) / SCORES))
    if any(one.paths != scores[0].paths for one in scores):
        raise DatasetError(f"the runs were evaluated on different {split} pictures; evaluate them again")
    progress("measuring size and speed")
    files = [convert(load_model(folder / MODEL_FILE), ("float32",))["float32"] for folder in runs]
    measured = zip(_names(runs), known, scores, files, _latencies_ms(files), strict=True)
    rows = [
        Compared(name, run.backbone, _aucs(one), len(content), latency_ms)
        for name, run, one, content, latency_ms in measured
    ]
    if ensemble:
        mean = {name: np.mean([one.p_fake[name] for one in scores], axis=0) for name in CONDITIONS}
        together = _Scores(scores[0].paths, scores[0].sources, scores[0].is_fake, mean)
        size_bytes, latency_ms = sum(row.size_bytes for row in rows), sum(row.latency_ms for row in rows)
        rows.append(Compared("ensemble", f"mean of {len(rows)}", _aucs(together), size_bytes, latency_ms))
    write_text(output / FIGURES, json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    _plot(rows, output / PLOT)
    title = f"# {len(runs)} runs on the {split} split, {len(scores[0].paths)} faces"
    notes = "AUC with its 95 % interval; size and time are those of the float32 .tflite file, in one thread here."
    write_text(output / TABLE, "\n".join([title, "", notes, "", *table(rows), "", f"![AUC]({PLOT})", ""]))
    return rows


def table(rows: Sequence[Compared]) -> list[str]:
    """Return the lines of a Markdown table."""
    sources = list(rows[0].auc["clean"])
    degraded = [name for name in THRESHOLD_CONDITIONS if name != "clean"]
    head = ["run", "backbone", *sources, *(f"all, {name}" for name in degraded), "MB", "ms"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        clean = [f"{auc.value:.3f} ({auc.low:.3f}-{auc.high:.3f})" for auc in row.auc["clean"].values()]
        others = [f"{row.auc[name]['all'].value:.3f}" for name in degraded]
        cells = [row.name, row.backbone, *clean, *others, f"{row.size_bytes / 1e6:.2f}", f"{row.latency_ms:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _read_scores(path: Path) -> _Scores:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return _Scores(
        paths=[row["path"] for row in rows],
        sources=np.array([row["source"] for row in rows]),
        is_fake=np.array([row["label"] == "fake" for row in rows]),
        p_fake={name: np.array([float(row[f"p_fake {name}"]) for row in rows]) for name in CONDITIONS},
    )


def _aucs(scores: _Scores) -> dict[str, dict[str, Auc]]:
    groups = {
        name: chosen
        for name, chosen in source_groups(scores.sources, scores.is_fake).items()
        if 0 < scores.is_fake[chosen].sum() < chosen.sum()
    }
    return {
        condition: {
            name: Auc(
                float(roc_auc_score(scores.is_fake[chosen], p_fake[chosen])),
                *auc_interval(p_fake[chosen], scores.is_fake[chosen]),
            )
            for name, chosen in groups.items()
        }
        for condition, p_fake in scores.p_fake.items()
    }


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the folders' names, or their whole paths where names are the same."""
    names = [folder.resolve().name for folder in runs]
    return names if len(set(names)) == len(names) else [str(folder) for folder in runs]


def _latencies_ms(files: Sequence[bytes]) -> list[float]:
    # In a process of its own: the runtimes would use what TensorFlow has loaded here.
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.tflite" for number in range(len(files))]
        for path, content in zip(paths, files, strict=True):
            path.write_bytes(content)
        command = [sys.executable, "-m", "facetell.edge.latency", "auto", *map(str, paths)]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _plot(rows: Sequence[Compared], path: Path) -> None:
    sources = list(rows[0].auc["clean"])
    figure, axis = plt.subplots(figsize=(8, 1.2 + len(sources) * (0.3 + 0.16 * len(rows))))
    for number, row in enumerate(rows):
        places = np.arange(len(sources)) + (number - (len(rows) - 1) / 2) * 0.8 / len(rows)
        aucs = list(row.auc["clean"].values())
        ends = [[auc.value - auc.low for auc in aucs], [auc.high - auc.value for auc in aucs]]
        label = f"{row.name}, {row.size_bytes / 1e6:.1f} MB, {row.latency_ms:.1f} ms"
        values = [auc.value for auc in aucs]
        axis.errorbar(values, places, xerr=ends, fmt="o", color=COLOURS[number % len(COLOURS)], label=label)
    axis.set_yticks(range(len(sources)), sources)
    axis.invert_yaxis()
    axis.set(xlabel="AUC on clean faces, 95 % interval")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center")
    save_figure(figure, path)
