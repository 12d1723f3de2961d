"""Whether a bundle's files say what the Keras model says: every file, every runtime, each in a process of its own."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from ..edge.bundle import CARD, Bundle, load_bundle
from ..edge.calibration import Calibration, Thresholds
from ..edge.errors import DatasetError, ModelError
from ..edge.files import write_text
from ..edge.manifest import Record, balanced_sample, read_manifest, select
from ..edge.run import MODEL_FILE, RUN_FILE, Run, check_cut, check_split
from ..edge.scoring import score_crops
from ..edge.signature import SIGNATURE
from ..edge.tables import Table, write_csv
from .plots import plot_scores

MAX_AUC_LOSS = 0.005
MIN_AGREEMENT = 0.985
MAX_MEAN_DRIFT = 0.02

_SAME_SCORE = 1e-4  # less is no change of a verdict: a threshold may lie that near to a face

TABLE, SCORES, PLOT = "table.md", "scores.csv", "scores.png"

_VERIFIED = "## Verified"

HERE = (sys.executable,)
"""The command that runs this Python."""


@dataclass(frozen=True)
class Comparison:
    """One file on one runtime against the reference."""

    file: str
    runtime: str
    processor: str
    auc: float
    auc_loss: float
    """Of the reference's AUC; negative where this one is better."""
    agreement: float
    """Share of crops with the same verdict."""
    mean_drift: float
    """Mean and largest |difference of calibrated p_fake|."""
    max_drift: float
    size_bytes: int
    latency_ms: float | None = None
    """The median of one invocation in one thread; None where it was not measured."""

    @property
    def place(self) -> str:
        """Where it was measured, as a Place names itself."""
        return f"{self.runtime} on {self.processor}"

    @property
    def holds(self) -> bool:
        """Whether it is as good as the reference."""
        return (
            abs(self.auc_loss) <= MAX_AUC_LOSS and self.agreement >= MIN_AGREEMENT and self.mean_drift <= MAX_MEAN_DRIFT
        )

    def in_words(self) -> str:
        """Return what was measured beside what it may be."""
        return (
            f"AUC loss {self.auc_loss:+.4f} (within {MAX_AUC_LOSS}), same verdict {self.agreement:.2%} (at least "
            f"{MIN_AGREEMENT:.1%}), mean drift {self.mean_drift:.4f} (at most {MAX_MEAN_DRIFT}) on {self.runtime}"
        )


@dataclass(frozen=True)
class Place:
    """A Python that has facetell, and a TFLite runtime in it."""

    python: tuple[str, ...]
    runtime: str
    runtime_version: str
    processor: str

    def __str__(self) -> str:
        """Return what a reader knows it by."""
        return f"{self.runtime} {self.runtime_version} on {self.processor}"


def verify(
    bundle_path: Path,
    crops: Path,
    *,
    run_folder: Path | None = None,
    precisions: Sequence[str] = (),
    split: str = "validation",
    sample: int | None = None,
    output: Path | None = None,
    pythons: Sequence[Sequence[str]] = (HERE,),
    card: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> list[Comparison]:
    """Score one split of crops, or a balanced sample, with Keras and every file of a bundle on every runtime there is.

    precisions name some of the files, where not all are wanted. The reference, first in the list, is the Keras model of
    the run that the bundle lies in, or of run_folder; without one it is the bundle's first file. Table, scores and plot
    go to output, or to the run's verification-SPLIT; card puts the table into the bundle's model card, too.

    Raises ModelError for a bundle that cannot be loaded, DatasetError when the crops were not cut like the
    bundle's, the split lacks a label or was changed since the training, or run_folder holds no run or another bundle's.
    """
    bundle = load_bundle(bundle_path)
    if not bundle_path.is_dir():
        raise ModelError(f"{bundle_path} is packed; unzip it and give its folder")
    if card and (bundle_path / SIGNATURE).exists():
        raise ModelError(f"{bundle_path} is signed, and another card would break that; sign it after verify --card")
    check_cut(bundle, crops)
    records = select(read_manifest(crops), split)
    if sample:
        records = balanced_sample(records, sample)
    labels = np.array([record.is_fake for record in records])
    beside = bundle_path.resolve().parent
    run_folder = run_folder or (beside if (beside / RUN_FILE).exists() else None)
    places = find_places(pythons)
    files = list(
        dict.fromkeys(bundle.classifier(precision).precision for precision in precisions or bundle.classifiers)
    )
    scores: list[np.ndarray] = []
    comparisons: list[Comparison] = []
    if run_folder is None:
        first = next(iter(bundle.classifiers))
        files = [first, *(file for file in files if file != first)]
        progress(f"no Keras model in {beside}, so {first} is the reference (--run names another)")
        if output is None:
            progress("no table, scores and plot are kept; -o names a folder for them")
    else:
        check_split(run_folder, records)
        run, model_file = Run.read(run_folder), run_folder / MODEL_FILE
        if run.thresholds != bundle.thresholds:
            raise DatasetError(f"{bundle_path} was not exported from {run_folder}: their thresholds differ; see --run")
        progress("scoring with keras")
        scores.append(score_keras(load_keras(run_folder), run.calibration, crops, records))
        comparisons.append(keras_row(scores[0], labels, model_file.stat().st_size))
    for place in places:
        for precision in files:
            progress(f"scoring with {precision}, {place}")
            scores.append(score_bundle(bundle_path, crops, records, precision, place.runtime, place.python))
            comparisons.append(compare(precision, place, scores[-1], scores[0], labels, bundle))
    comparisons = with_latencies(comparisons, bundle_path, bundle, places, progress)
    output = output or (run_folder / f"verification-{split}" if run_folder else None)
    if output:
        _write(output, records, comparisons, scores, bundle.thresholds)
    if card:
        _write_into_card(bundle_path / CARD, f"{len(records)} face crops of the {split} split", comparisons)
    return comparisons


def find_places(pythons: Sequence[Sequence[str]]) -> list[Place]:
    """Return every runtime of some Python commands; raises ModelError for a Python without facetell."""
    places = []
    for python in pythons:
        try:
            found = _json([*python, "-m", "facetell.edge.latency"])
        except ModelError as error:
            raise ModelError(f"{error}; --python wants a Python that has this facetell") from error
        if not found["runtimes"]:
            raise ModelError(f"{shlex.join(python)} has no TFLite runtime; run there: pip install ai-edge-litert")
        for name, number in found["runtimes"].items():
            first = place = Place(tuple(python), name, number, found["processor"])
            for count in itertools.count(2):
                if str(place) not in map(str, places):
                    break
                place = replace(first, processor=f"{first.processor} ({count})")
            places.append(place)
    return places


def with_latencies(
    comparisons: Sequence[Comparison],
    bundle_path: Path,
    bundle: Bundle,
    places: Sequence[Place],
    progress: Callable[[str], None],
) -> list[Comparison]:
    """Return comparisons with their latency_ms, None where they cannot be measured.

    The files take turns in each place, so their times there can be compared, but not those of different places.
    """
    files = [name for name in bundle.classifiers if any(comparison.file == name for comparison in comparisons)]
    paths = [(bundle_path / bundle.classifiers[name].file).resolve() for name in files]
    found = {}
    for place in places:
        progress(f"measuring latency, {place}")
        try:
            times = latencies_ms(paths, place.runtime, place.python)
        except ModelError as error:  # what was compared by now is worth more
            progress(f"latency cannot be measured: {error}")
            continue
        found |= {(name, str(place)): latency_ms for name, latency_ms in zip(files, times, strict=True)}
    return [replace(known, latency_ms=found.get((known.file, known.place))) for known in comparisons]


def latencies_ms(files: Sequence[Path], runtime: str = "auto", python: Sequence[str] = HERE) -> list[float]:
    """Return the milliseconds that .tflite files take in one thread of a process of its own; raises ModelError."""
    return _json([*python, "-m", "facetell.edge.latency", runtime, *map(str, files)])


def load_keras(run_folder: Path) -> Any:
    """Return a run's Keras model; raises ModelError when it cannot be loaded."""
    path = run_folder / MODEL_FILE
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises ValueError, zipfile's and h5py's errors, KeyError, ...
        raise ModelError(f"{path} cannot be loaded as a Keras model; train it again: {error}") from error


def score_keras(model: Any, calibration: Calibration, crops: Path, records: Sequence[Record]) -> np.ndarray:
    """Return the calibrated p_fake (N,) of crops by a Keras model."""
    return calibration.apply(score_crops(model.predict_on_batch, crops, records))


def score_bundle(
    bundle: Path,
    crops: Path,
    records: Sequence[Record],
    precision: str,
    runtime: str = "auto",
    python: Sequence[str] = HERE,
) -> np.ndarray:
    """Return the calibrated p_fake (N,) of crops by a bundle's file in a process of its own.

    A process that has TensorFlow in it may run TensorFlow's interpreter instead of the runtime's.
    Raises ModelError when the process fails, DatasetError when a crop cannot be read.
    """
    command = [*python, "-m", "facetell.edge.scoring", str(bundle.resolve()), str(crops.resolve()), precision, runtime]
    answer = _json(command, json.dumps([record.path for record in records]))
    if "error" in answer:
        raise DatasetError(answer["error"])
    p_fake = np.array(answer["p_fake"])
    if not np.isfinite(p_fake).all():
        raise ModelError(f"the {precision} file gives scores that are no numbers with {runtime}")
    return p_fake


def compare(
    file: str,
    place: Place,
    p_fake: np.ndarray,
    reference: np.ndarray,
    is_fake: np.ndarray,
    bundle: Bundle,
) -> Comparison:
    """Return how a file's scores (N,) differ from the reference's (N,)."""
    thresholds = bundle.thresholds
    drift = np.abs(p_fake - reference)
    auc = float(roc_auc_score(is_fake, p_fake))
    verdicts = [thresholds.verdict(a) == thresholds.verdict(b) for a, b in zip(p_fake, reference, strict=True)]
    same = np.array(verdicts) | (drift < _SAME_SCORE)
    return Comparison(
        file=file,
        runtime=f"{place.runtime} {place.runtime_version}",
        processor=place.processor,
        auc=auc,
        auc_loss=float(roc_auc_score(is_fake, reference)) - auc,
        agreement=float(np.mean(same)),
        mean_drift=float(drift.mean()),
        max_drift=float(drift.max()),
        size_bytes=bundle.classifiers[file].size_bytes,
    )


def keras_row(reference: np.ndarray, is_fake: np.ndarray, size_bytes: int) -> Comparison:
    """Return the reference's own row."""
    auc = float(roc_auc_score(is_fake, reference))
    return Comparison("keras", f"keras {keras.__version__}", "", auc, 0.0, 1.0, 0.0, 0.0, size_bytes)


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Return a table of comparisons."""
    head = ("file", "runtime", "processor", "AUC", "AUC loss", "same verdict", "mean drift", "max drift", "MB", "ms")
    rows = [
        (
            *(c.file, c.runtime, c.processor or "-", f"{c.auc:.4f}", f"{round(c.auc_loss, 4) + 0.0:+.4f}"),
            *(f"{c.agreement:.2%}", f"{c.mean_drift:.4f}", f"{c.max_drift:.3f}", f"{c.size_bytes / 1e6:.2f}"),
            "-" if c.latency_ms is None else f"{c.latency_ms:.2f}",
        )
        for c in comparisons
    ]
    return Table(head, rows)


def _write(
    output: Path,
    records: Sequence[Record],
    comparisons: Sequence[Comparison],
    scores: Sequence[np.ndarray],
    thresholds: Thresholds,
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / TABLE, f"{comparison_table(comparisons)}\n")
    names = [f"{c.file}, {c.runtime}, {c.processor}" if c.processor else c.runtime for c in comparisons]
    rows = (
        (record.path, record.label, *(f"{p_fake[number]:.6f}" for p_fake in scores))
        for number, record in enumerate(records)
    )
    write_csv(output / SCORES, ("path", "label", *names), rows)
    plot_scores(dict(zip(names, scores, strict=True)), thresholds, output / PLOT)


def _write_into_card(path: Path, measured_on: str, comparisons: Sequence[Comparison]) -> None:
    """Put the table at the end of a model card, in the place of an earlier one."""
    try:
        kept = path.read_text(encoding="utf-8").partition(f"\n{_VERIFIED}\n")[0].rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read, so no table can be put into it: {error}") from error
    table = str(comparison_table(comparisons))
    against = f"against {comparisons[0].file}"
    write_text(path, f"{kept}\n\n{_VERIFIED}\n\nBy `facetell verify` on {measured_on}, {against}:\n\n{table}\n")


def _json(command: Sequence[str], text: str = "") -> Any:
    said = _run(command, text)
    try:
        return json.loads(said)
    except ValueError as error:
        raise ModelError(f"{shlex.join(command[:6])} ... said {said[:80]!r}; wanted JSON from facetell") from error


def _run(command: Sequence[str], text: str) -> str:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, encoding="utf-8", errors="surrogateescape", check=False
        )
    except OSError as error:
        raise ModelError(f"{command[0]} cannot be started: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ModelError(f"{shlex.join(command[:8])} ... failed: {last}")
    return done.stdout
