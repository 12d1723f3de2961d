"""How good a trained detector is, per set and together, on clean and on degraded pictures."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..edge.calibration import Thresholds
from ..edge.errors import DatasetError
from ..edge.files import check_ours, write_text
from ..edge.manifest import Record, read_manifest, split_sha256
from ..edge.run import MODEL_FILE, Run, check_cut, check_split
from ..edge.tables import write_csv
from .backbones import load_model
from .conditions import EVERY, score_condition
from .history import CURVES
from .metrics import BY_GROUP, Metrics, measure, metrics_table, per_group, source_groups
from .page import Figure, Section, write_page
from .plots import plot_confusion, plot_reliability, plot_roc, plot_scores, plot_worst

REPORT_JSON = "report.json"
PAGE = "report.html"
TABLES = "report.md"
SCORES = "scores.csv"

_WORST_PLOT = "worst.png"
PLOTS = {
    "roc.png": "How many fakes are found at what price in false alarms",
    "scores.png": "How the scores of clean faces are spread",
    "reliability.png": "Whether a probability means what it says",
    "confusion.png": "What is said of real and of fake faces",
    _WORST_PLOT: "Real faces scored most fake, and fakes scored most real",
}
"""File -> what it shows."""

FILES = {REPORT_JSON, PAGE, TABLES, *PLOTS}

UNKNOWN = "unknown"
"""The value of an attribute of a picture about which nothing is known."""

_WORST = 12
_HOW_TO_READ = (
    "Accuracy, precision, recall and F1 (of the fakes) are those at a calibrated probability of 0.5; intervals are "
    "95 % bootstrap. Fakes of a set without real faces are also measured against all real faces. By group, the "
    "mean score of all faces of one label and one group is measured: of a clip, where groups are videos. Accuracy at "
    "threshold is that of fake against real and uncertain: an uncertain fake counts as missed."
)


@dataclass(frozen=True)
class Report:
    """All figures of one evaluation."""

    run: str
    backbone: str
    split: str
    split_sha256: str
    pictures: int
    thresholds: Thresholds
    results: dict[str, dict[str, Metrics]]
    """Condition -> one of metrics.source_groups, also followed by BY_GROUP -> metrics of the faces that were found."""
    found: dict[str, float]
    """Condition -> share of the faces that were found, which is 1 where the face lies as it did."""
    confusion: dict[str, dict[str, int]]
    """Label -> verdict -> number of clean pictures, at the thresholds."""
    attributes: dict[str, dict[str, Metrics]]
    """Attribute -> its value -> metrics of the clean pictures that have it."""

    def titled(self) -> dict[str, dict[str, Metrics]]:
        """Return the results by condition, with the share that was found where it is not all."""
        titles = {name: name if share == 1 else f"{name} ({share:.0%} found)" for name, share in self.found.items()}
        return {titles[name]: by_set for name, by_set in self.results.items()}


def evaluate(
    run_folder: Path,
    output: Path | None = None,
    *,
    crops: Path | None = None,
    split: str | None = None,
    attributes: Path | None = None,
    progress: Callable[[str], None] = lambda condition: None,
) -> Report:
    """Score one split of the run's crops, or of others; write report.json, .html and .md, scores.csv and pictures.

    split is test when it is not given, or validation where nothing tests; output is run_folder/evaluation-SPLIT.
    attributes is a csv as read_attributes takes it.

    Raises DatasetError when the split is empty or was changed since the training, when other crops were not cut like
    the run's, or when output holds something else. Others need an output of their own.
    """
    run = Run.read(run_folder)
    crops = crops or Path(run.crops)
    check_cut(run, crops)
    every_record = read_manifest(crops)
    split = split or ("test" if any(record.split == "test" for record in every_record) else "validation")
    records = [record for record in every_record if record.split == split]
    if not records:
        raise DatasetError(f"{crops} has no pictures in the {split} split; run: facetell split {crops}")
    check_split(run_folder, records)
    if output is None and split_sha256(every_record) != run.split_sha256:
        raise DatasetError(f"{crops} are other crops than the run's own; choose a folder for their report with -o")
    output = output or default_folder(run_folder, split)
    check_ours(output, SCORES, FILES)
    values = read_attributes(attributes, records) if attributes else {}
    model = load_model(run_folder / MODEL_FILE)
    labels = np.array([record.is_fake for record in records])
    sets = source_groups(np.array([record.source for record in records]), labels)
    groups = np.array([f"{record.label} {record.group}" for record in records])
    p_fake, results, shares = {}, {}, {}
    for name in EVERY:
        progress(name)
        p_fake[name] = run.calibration.apply(score_condition(model.predict_on_batch, crops, records, name))
        found = ~np.isnan(p_fake[name])
        results[name], shares[name] = {}, float(found.mean())
        for title, members in sets.items():
            if not (chosen := members & found).any():
                continue
            scores, truth = p_fake[name][chosen], labels[chosen]
            results[name][title] = measure(scores, truth, run.thresholds)
            if len(np.unique(groups[chosen])) < len(scores):
                results[name][title + BY_GROUP] = measure(*per_group(scores, truth, groups[chosen]), run.thresholds)
    clean = p_fake["clean"]
    report = Report(
        run=run_folder.resolve().name,
        backbone=run.backbone,
        split=split,
        split_sha256=split_sha256(every_record),
        pictures=len(records),
        thresholds=run.thresholds,
        results=results,
        found=shares,
        confusion=_confusion(clean, labels, run.thresholds),
        attributes={
            name: {
                str(value): measure(clean[of == value], labels[of == value], run.thresholds) for value in np.unique(of)
            }
            for name, of in values.items()
        },
    )
    _write_scores(output / SCORES, records, p_fake)
    plot_roc(output / "roc.png", {name: (labels[~np.isnan(p)], p[~np.isnan(p)]) for name, p in p_fake.items()})
    plot_scores(output / "scores.png", clean, labels, run.thresholds)
    plot_reliability(output / "reliability.png", clean, labels)
    plot_confusion(output / "confusion.png", report.confusion)
    plot_worst(output / _WORST_PLOT, *worst_mistakes(clean, labels, records, crops))
    others = [f"--crops={crops}", f"--output={output}"] if crops != Path(run.crops) else []
    others += [f"--attributes={attributes}"] if attributes else []
    command = shlex.join(["facetell", "evaluate", str(run_folder), f"--split={split}", *others])
    _write_page(output / PAGE, report, run_folder / CURVES, command)
    write_text(output / TABLES, _tables(report))
    write_text(output / REPORT_JSON, json.dumps(asdict(report), indent=2) + "\n")
    return report


def default_folder(run_folder: Path, split: str) -> Path:
    """Return where the evaluation of a run's split stands unless told otherwise."""
    return run_folder / f"evaluation-{split}"


def read_attributes(path: Path, records: Sequence[Record]) -> dict[str, np.ndarray]:
    """Return the values (N,) of each column other than sha256 in a csv of pictures, UNKNOWN for pictures it lacks.

    Raises DatasetError when it cannot be read, has no other column, or holds none of the pictures.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name for name in reader.fieldnames or () if name != "sha256"]
            rows = {row["sha256"]: row for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise DatasetError(f"{path} cannot be read; wanted a csv in UTF-8 with the column sha256") from error
    if not names:
        raise DatasetError(f"{path} has no column but sha256; wanted one for each attribute, such as age")
    known = [rows.get(record.sha256, {}) for record in records]
    if not any(known):
        raise DatasetError(f"{path} has none of the pictures that are evaluated; its sha256 are those of manifest.csv")
    return {name: np.array([row.get(name) or UNKNOWN for row in known]) for name in names}


def _tables(report: Report) -> str:
    """Return the report in Markdown: all sets on clean faces, all faces together under the other conditions."""
    results = {
        title: {name: of for name, of in by_set.items() if title == "clean" or name in ("all", f"all{BY_GROUP}")}
        for title, by_set in report.titled().items()
    }
    thresholds = report.thresholds
    parts = [
        f"{report.split.capitalize()} split, {report.pictures} face crops, split sha256 `{report.split_sha256[:16]}`; "
        f"fake from {thresholds.fake:.4g}, real up to {thresholds.real:.4g}.",
        str(metrics_table(results)),
    ]
    if report.attributes:
        parts += [str(metrics_table(report.attributes, kind="attribute", of="value"))]
    return "\n\n".join(parts) + "\n"


def _write_page(path: Path, report: Report, curves: Path, command: str) -> None:
    thresholds, clean = report.thresholds, report.results["clean"]
    every = clean["all"]
    lead = (
        f"{report.backbone} on the {report.split} split, {report.pictures} face crops, split sha256 "
        f"{report.split_sha256[:16]}. Fake from {thresholds.fake:.4g}, real up to {thresholds.real:.4g}: "
        f"{thresholds.chosen_at}."
    )
    facts = {
        "real / fake faces": f"{every.real} / {every.fake}",
        "AUC, 95 %": "-" if every.auc is None else f"{every.auc:.3f} ({every.auc_low:.3f}-{every.auc_high:.3f})",
        "accuracy at 0.5": f"{every.accuracy:.1%}",
        "real called fake": _percent(every.real_called_fake),
        "fake called real": _percent(every.fake_called_real),
        "uncertain": _percent(every.uncertain),
    }
    *figures, worst = (Figure(path.with_name(name), words, name == _WORST_PLOT) for name, words in PLOTS.items())
    training = [Figure(curves, "How the training went", is_wide=True)] if curves.exists() else []
    degraded = {title: by_set for title, by_set in report.titled().items() if title != "clean"}
    sections = [
        Section("By data set", _HOW_TO_READ, table=metrics_table({"clean": clean})),
        Section("What it does", figures=[*figures, *training]),
        Section("The worst mistakes", figures=[worst]),
        Section("On worse pictures", table=metrics_table(degraded)),
    ]
    if report.attributes:
        by_attribute = metrics_table(report.attributes, kind="attribute", of="value")
        sections.append(Section("By other attributes", table=by_attribute))
    write_page(path, f"Evaluation of {report.run}", lead, facts, sections, command)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _confusion(p_fake: np.ndarray, labels: np.ndarray, thresholds: Thresholds) -> dict[str, dict[str, int]]:
    verdicts = np.array([thresholds.verdict(p) for p in p_fake])
    return {
        name: {
            verdict: int((verdicts[labels == is_fake] == verdict).sum()) for verdict in ("real", "uncertain", "fake")
        }
        for name, is_fake in (("real", False), ("fake", True))
    }


def _write_scores(path: Path, records: Sequence[Record], p_fake: dict[str, np.ndarray]) -> None:
    rows = (
        (
            record.path,
            record.source,
            record.label,
            *("" if np.isnan(p[index]) else f"{p[index]:.6f}" for p in p_fake.values()),
        )
        for index, record in enumerate(records)
    )
    write_csv(path, ("path", "source", "label", *(f"p_fake {name}" for name in p_fake)), rows)


def worst_mistakes(
    p_fake: np.ndarray, labels: np.ndarray, records: Sequence[Record], crops: Path
) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Return (path, caption) of the real faces scored above 0.5 and the fake ones below, the worst first."""

    def pick(order: np.ndarray, is_fake: bool) -> list[tuple[Path, str]]:
        chosen = [index for index in order if labels[index] == is_fake and (p_fake[index] >= 0.5) != is_fake]
        return [
            (crops / records[i].path, f"{p_fake[i]:.3f}  {records[i].source}\n{Path(records[i].path).stem}")
            for i in chosen[:_WORST]
        ]

    order = np.argsort(p_fake)
    return pick(order[::-1], False), pick(order, True)
