"""Trained runs side by side: how well each tells the faces of every source, how large and how fast it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from ..convert.tflite import convert
from ..convert.verify import latencies_ms
from ..edge.errors import DatasetError
from ..edge.files import check_ours, write_text
from ..edge.run import MODEL_FILE, Run
from ..edge.tables import Table
from ..pipeline.backbones import load_model
from ..pipeline.conditions import EVERY
from ..pipeline.evaluate import REPORT_JSON, SCORES, default_folder, evaluate
from ..pipeline.metrics import BY_GROUP, auc_interval, source_groups
from ..pipeline.plots import COLOURS, save_figure

TABLE, FIGURES, PLOT = "comparison.md", "comparison.json", "comparison.png"

Auc = tuple[float, float, float]
"""An area under the ROC curve and its 95 % interval."""


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

    Raises DatasetError when a folder holds no finished run, one is named twice, the runs were split differently, the
    split lacks a label, or output holds something else; ModelError when a file cannot be timed.
    """
    known = [Run.read(folder) for folder in runs]
    if len({folder.resolve() for folder in runs}) < len(runs):
        raise DatasetError("a run is named twice; name each once")
    if len({run.split_sha256 for run in known}) > 1:
        raise DatasetError("the runs were trained on different pictures or splits; compare those of one crops folder")
    check_ours(output, FIGURES, {TABLE, PLOT})
    reports = [_report(folder, run, split, progress) for folder, run in zip(runs, known, strict=True)]
    aucs = [_aucs(report["results"]) for report in reports]
    if not aucs[0]["clean"]:
        raise DatasetError(f"the {split} split has pictures of one label alone, so there is no AUC; choose another")
    progress("measuring size and time")
    sizes, times = _sizes_and_times(runs)
    rows = list(map(Compared, _names(runs), [run.backbone for run in known], aucs, sizes, times))
    if ensemble:
        mean = _ensemble([default_folder(folder, split) / SCORES for folder in runs])
        rows.append(Compared("ensemble", f"mean of {len(runs)}", mean, sum(sizes), sum(times)))
    write_text(output / FIGURES, json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    _plot(rows, split, output / PLOT)
    page = [
        f"# {len(runs)} runs on the {split} split, {reports[0]['pictures']} faces",
        "",
        "AUC on clean faces with its 95 % interval, and of all faces under each condition. Size and time are those of",
        "the float32 .tflite file, in one thread here. The validation split chose epochs and calibrations, too.",
        "",
        str(table(rows)),
        "",
        f"![AUC]({PLOT})",
        "",
    ]
    write_text(output / TABLE, "\n".join(page))
    return rows


def table(rows: Sequence[Compared]) -> Table:
    """Return a table of AUCs, sizes and times."""
    sources, degraded = _sources(rows), [name for name in EVERY if name != "clean"]
    head = ["run", "backbone", *sources, *(f"all, {name}" for name in degraded), "MB", "ms"]
    cells = []
    for row in rows:
        aucs = [row.auc["clean"].get(source) for source in sources]
        clean = [f"{auc[0]:.3f} ({auc[1]:.3f}-{auc[2]:.3f})" if auc else "-" for auc in aucs]
        others = [f"{row.auc[name]['all'][0]:.3f}" if "all" in row.auc[name] else "-" for name in degraded]
        size_and_time = (f"{row.size_bytes / 1e6:.2f}", f"{row.latency_ms:.2f}")
        cells.append([row.name, row.backbone, *clean, *others, *size_and_time])
    return Table(head, cells)


def _report(folder: Path, run: Run, split: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return the report on a run's own split, made anew where it is missing, of other crops or of older code."""
    path = default_folder(folder, split) / REPORT_JSON
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if report.get("split_sha256") != run.split_sha256 or not set(EVERY) <= set(report["results"]):
        progress(f"evaluating {folder}")
        evaluate(folder, split=split)
        report = json.loads(path.read_text(encoding="utf-8"))
    return report


def _aucs(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Auc]]:
    return {
        condition: {
            name: (metrics["auc"], metrics["auc_low"], metrics["auc_high"])
            for name, metrics in by_source.items()
            if metrics["auc"] is not None and not name.endswith(BY_GROUP)
        }
        for condition, by_source in results.items()
    }


def _sources(rows: Sequence[Compared]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row.auc["clean"]))
    return names[:1] if len(names) == 2 else names  # of one source, all are the same faces


def _ensemble(files: Sequence[Path]) -> dict[str, dict[str, Auc]]:
    """Return the AUCs of the mean of the p_fake in some scores.csv."""
    scores: list[dict[str, dict[str, str]]] = []
    for path in files:
        with path.open(newline="", encoding="utf-8") as file:
            scores.append({row["path"]: row for row in csv.DictReader(file)})
    faces = list(scores[0])
    if any(set(one) != set(faces) for one in scores):
        raise DatasetError("the runs were evaluated on different pictures; evaluate them again")
    is_fake = np.array([scores[0][face]["label"] == "fake" for face in faces])
    groups = source_groups(np.array([scores[0][face]["source"] for face in faces]), is_fake)
    results: dict[str, dict[str, Auc]] = {}
    for condition in EVERY:
        # Empty where a face was not found: NaN of one is NaN of all.
        p_fake = [[float(one[face][f"p_fake {condition}"] or "nan") for face in faces] for one in scores]
        mean = np.mean(p_fake, axis=0)
        results[condition] = {
            name: (float(roc_auc_score(is_fake[those], mean[those])), *auc_interval(mean[those], is_fake[those]))
            for name, members in groups.items()
            if 0 < is_fake[those := members & ~np.isnan(mean)].sum() < those.sum()
        }
    return results


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the folders' names, or their whole paths where names are the same."""
    names = [folder.resolve().name for folder in runs]
    return names if len(set(names)) == len(names) else [str(folder) for folder in runs]


def _sizes_and_times(runs: Sequence[Path]) -> tuple[list[int], list[float]]:
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.tflite" for number in range(len(runs))]
        for run, file in zip(runs, files, strict=True):
            file.write_bytes(convert(load_model(run / MODEL_FILE), ("float32",))["float32"])
        return [file.stat().st_size for file in files], latencies_ms(files)


def _plot(rows: Sequence[Compared], split: str, path: Path) -> None:
    sources = _sources(rows)
    height = 1.2 + len(sources) * (0.3 + 0.16 * len(rows)) + 0.2 * len(rows)
    figure, axis = plt.subplots(figsize=(8, height), layout="constrained")
    for number, row in enumerate(rows):
        shown = [name for name in row.auc["clean"] if name in sources]
        places = np.array([sources.index(name) for name in shown], float)
        places += (number - (len(rows) - 1) / 2) * 0.8 / len(rows)
        auc, low, high = np.array([row.auc["clean"][name] for name in shown]).T
        label = f"{row.name}, {row.size_bytes / 1e6:.1f} MB, {row.latency_ms:.1f} ms"
        colour = COLOURS[number % len(COLOURS)]
        axis.errorbar(auc, places, xerr=np.stack([auc - low, high - auc]), fmt="o", color=colour, label=label)
    axis.set_yticks(range(len(sources)), sources)
    axis.invert_yaxis()
    axis.set(xlabel=f"AUC on clean faces of the {split} split, 95 % interval")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center")
    save_figure(figure, path)
