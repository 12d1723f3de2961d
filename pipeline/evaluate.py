"""How good a trained detector is, per set and together, on clean and on degraded pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from ..edge.calibration import Thresholds
from ..edge.errors import DatasetError
from ..edge.files import replacing, write_text
from ..edge.manifest import Record, read_manifest, split_sha256
from ..edge.run import MODEL_FILE, Run, check_cut, check_split
from ..edge.scoring import score_crops
from .augment import jpeg, rescale
from .backbones import load_model
from .plots import plot_confusion, plot_roc, plot_scores, plot_worst

REPORT_JSON = "report.json"
REPORT_MD = "report.md"
SCORES = "scores.csv"
FILES = {REPORT_JSON, REPORT_MD, SCORES, "roc.png", "scores.png", "confusion.png", "worst.png"}

CONDITIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "clean": lambda image: image,
    "JPEG 50": lambda image: jpeg(image, 50),
    "half size": lambda image: rescale(image, 0.5),
}

_BOOTSTRAPS = 1000
_WORST = 12


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
    real_called_fake: float | None
    """Shares at the run's thresholds."""
    fake_called_real: float | None
    uncertain: float


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
    """Condition -> source, or 'all' -> metrics."""
    confusion: dict[str, dict[str, int]]
    """Label -> verdict -> number of clean pictures, at the thresholds."""


def evaluate(
    run_folder: Path,
    output: Path | None = None,
    *,
    crops: Path | None = None,
    split: str | None = None,
    progress: Callable[[str], None] = lambda condition: None,
) -> Report:
    """Score one split of the run's crops, or of others, and write report.json, report.md, scores.csv and pictures.

    split is test when it is not given, or validation where nothing tests; output is run_folder/evaluation-SPLIT.

    Raises DatasetError when the split is empty or was changed since the training, when other crops were cut otherwise
    than the run's, or when output holds something else. Others need an output of their own.
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
    if output.is_file() or (output.is_dir() and any(path.name not in FILES for path in output.iterdir())):
        raise DatasetError(f"{output} exists and holds something else; choose another folder with -o")
    model = load_model(run_folder / MODEL_FILE)
    labels = np.array([record.is_fake for record in records])
    p_fake, results = {}, {}
    for name, change in CONDITIONS.items():
        progress(name)
        p_fake[name] = run.calibration.apply(
            score_crops(model.predict_on_batch, crops, records, run.input_size_px, change)
        )
        results[name] = _by_source(p_fake[name], labels, records, run.thresholds)
    clean = p_fake["clean"]
    report = Report(
        run=run_folder.resolve().name,
        backbone=run.backbone,
        split=split,
        split_sha256=split_sha256(every_record),
        pictures=len(records),
        thresholds=run.thresholds,
        results=results,
        confusion=_confusion(clean, labels, run.thresholds),
    )
    _write_scores(output / SCORES, records, p_fake)
    plot_roc(output / "roc.png", {name: (labels, scores) for name, scores in p_fake.items()})
    plot_scores(output / "scores.png", clean, labels, run.thresholds)
    plot_confusion(output / "confusion.png", report.confusion)
    plot_worst(output / "worst.png", *worst_mistakes(clean, labels, records, crops))
    write_text(output / REPORT_MD, markdown(report))
    write_text(output / REPORT_JSON, json.dumps(asdict(report), indent=2) + "\n")
    return report


def default_folder(run_folder: Path, split: str) -> Path:
    """Return where the evaluation of a run's split stands unless told otherwise."""
    return run_folder / f"evaluation-{split}"


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
        real_called_fake=float(judged_fake[~is_fake].mean()) if real else None,
        fake_called_real=float(judged_real[is_fake].mean()) if fake else None,
        uncertain=float((~judged_fake & ~judged_real).mean()),
    )


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


def markdown(report: Report) -> str:
    """Return a report as a page for people."""
    thresholds = report.thresholds
    lines = [
        f"# Evaluation of {report.run}",
        "",
        f"{report.backbone} on the {report.split} split, {report.pictures} face crops, split sha256 "
        f"`{report.split_sha256[:16]}`. Fake from {thresholds.fake:.3f}, real up to {thresholds.real:.3f}: "
        f"{thresholds.chosen_at}.",
        "",
        "Precision, recall and F1 are of the fakes, at a calibrated probability of 0.5; intervals are 95 % bootstrap.",
        "",
        *metrics_table(report.results),
        "",
        "![ROC](roc.png)",
        "",
        "![Scores](scores.png)",
        "",
        "![Confusion](confusion.png)",
        "",
        "## The worst mistakes",
        "",
        "![Worst mistakes](worst.png)",
        "",
    ]
    return "\n".join(lines)


def metrics_table(results: dict[str, dict[str, Metrics]]) -> list[str]:
    """Return the lines of a Markdown table of metrics by condition and source."""
    head = (
        *("condition", "set", "real / fake", "AUC", "accuracy", "precision", "recall", "F1"),
        *("real called fake", "fake called real", "uncertain"),
    )
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for condition, by_source in results.items():
        for source, m in by_source.items():
            auc = "-" if m.auc is None else f"{m.auc:.3f} ({m.auc_low:.3f}-{m.auc_high:.3f})"
            scores = [
                f"{value:.3f}" if value is not None else "-" for value in (m.accuracy, m.precision, m.recall, m.f1)
            ]
            shares = (m.real_called_fake, m.fake_called_real, m.uncertain)
            cells = [condition, source, f"{m.real} / {m.fake}", auc, *scores]
            cells += [f"{share:.1%}" if share is not None else "-" for share in shares]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _by_source(
    p_fake: np.ndarray, labels: np.ndarray, records: Sequence[Record], thresholds: Thresholds
) -> dict[str, Metrics]:
    sources = np.array([record.source for record in records])
    names = sorted(set(sources))
    metrics = {name: measure(p_fake[sources == name], labels[sources == name], thresholds) for name in names}
    return metrics | {"all": measure(p_fake, labels, thresholds)}


def _confusion(p_fake: np.ndarray, labels: np.ndarray, thresholds: Thresholds) -> dict[str, dict[str, int]]:
    verdicts = np.array([thresholds.verdict(p) for p in p_fake])
    return {
        name: {
            verdict: int((verdicts[labels == is_fake] == verdict).sum()) for verdict in ("real", "uncertain", "fake")
        }
        for name, is_fake in (("real", False), ("fake", True))
    }


def _write_scores(path: Path, records: Sequence[Record], p_fake: dict[str, np.ndarray]) -> None:
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "source", "label", *(f"p_fake {name}" for name in p_fake)])
        for index, record in enumerate(records):
            writer.writerow([record.path, record.source, record.label, *(f"{p[index]:.6f}" for p in p_fake.values())])


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
