"""Whether a bundle's files say what the Keras model says, each scored in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from ..edge.bundle import load_bundle
from ..edge.calibration import Thresholds
from ..edge.errors import DatasetError, ModelError
from ..edge.manifest import Record, read_manifest, select
from ..edge.run import MODEL_FILE, RUN_FILE, Run, check_split
from ..edge.runtime import installed_runtimes
from ..edge.scoring import score_crops


@dataclass(frozen=True)
class Comparison:
    """One way to score the crops against the reference."""

    name: str
    auc: float
    auc_loss: float
    """Of the reference's AUC; negative where this one is better."""
    agreement: float
    """Share of crops with the same verdict."""
    mean_drift: float
    """Mean and largest |difference of calibrated p_fake|."""
    max_drift: float
    real_called_fake: float
    """Share of the real faces, at the bundle's thresholds."""
    size_bytes: int


def verify(
    bundle_path: Path,
    crops: Path,
    *,
    run_folder: Path | None = None,
    split: str = "validation",
    progress: Callable[[str], None] = lambda name: None,
) -> list[Comparison]:
    """Score one split of crops with Keras and with every file of a bundle on every installed runtime.

    The reference, first in the list, is the Keras model of the run that the bundle lies in, or of run_folder; without
    one it is the float32 file.

    Raises ModelError for a bundle that cannot be loaded, DatasetError when the split lacks a label, was changed since
    the training, or run_folder holds no run.
    """
    bundle = load_bundle(bundle_path)
    records = select(read_manifest(crops), split)
    labels = np.array([record.is_fake for record in records])
    beside = bundle_path.resolve().parent
    run_folder = run_folder or (beside if (beside / RUN_FILE).exists() else None)
    scores: dict[str, tuple[np.ndarray, int]] = {}
    if run_folder is None:
        progress(f"no Keras model in {beside}, so float32 is the reference (--run names another)")
    else:
        check_split(run_folder, records)
        progress("keras")
        model_file = run_folder / MODEL_FILE
        scores["keras"] = score_keras(run_folder, crops, records), model_file.stat().st_size
    for precision, classifier in bundle.classifiers.items():
        for runtime in installed_runtimes():
            name = f"{precision}, {runtime}"
            progress(name)
            scores[name] = score_bundle(bundle_path, crops, records, precision, runtime), classifier.size_bytes
    reference = next(iter(scores.values()))[0]
    return [
        compare(name, p_fake, reference, labels, bundle.thresholds, size) for name, (p_fake, size) in scores.items()
    ]


def load_keras(run_folder: Path) -> Any:
    """Return a run's Keras model; raises ModelError when it cannot be loaded."""
    path = run_folder / MODEL_FILE
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises ValueError, zipfile's and h5py's errors, KeyError, ...
        raise ModelError(f"{path} cannot be loaded as a Keras model; train it again: {error}") from error


def score_keras(run_folder: Path, crops: Path, records: Sequence[Record]) -> np.ndarray:
    """Return the calibrated p_fake (N,) of crops by a run's Keras model."""
    run = Run.read(run_folder)
    model = load_keras(run_folder)
    return run.calibration.apply(score_crops(model.predict_on_batch, crops, records, run.input_size_px))


def score_bundle(
    bundle: Path, crops: Path, records: Sequence[Record], precision: str, runtime: str = "auto"
) -> np.ndarray:
    """Return the calibrated p_fake (N,) of crops by `facetell scan` in a process of its own.

    A process that has TensorFlow in it may run TensorFlow's interpreter instead of the runtime's.
    Raises ModelError when the process fails, DatasetError when a crop cannot be read.
    """
    arguments = ["scan", "--pre-cropped", "--quiet", "--format", "jsonl", "--model", str(bundle.resolve())]
    arguments += ["--precision", precision, "--runtime", runtime, "-"]
    paths = [str((crops / record.path).resolve()) for record in records]
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise DatasetError(f"{missing[0]} is missing; make the crops again with: facetell crop")
    done = subprocess.run(
        [sys.executable, "-m", "facetell.tools.cli", *arguments],
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 3):
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ModelError(f"the {precision} file cannot be scored with {runtime}: {last}")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if [result["path"] for result in results] != paths:
        raise DatasetError(f"scan returned {len(results)} results for {len(paths)} crops; a path holds a line break?")
    for result in results:
        if result["status"] == "error":
            raise DatasetError(f"{result['path']}: {result['error']}; make the crops again with: facetell crop")
    return np.array([result["p_fake"] for result in results])


def compare(
    name: str,
    p_fake: np.ndarray,
    reference: np.ndarray,
    is_fake: np.ndarray,
    thresholds: Thresholds,
    size_bytes: int,
) -> Comparison:
    """Return how scores (N,) differ from the reference's (N,)."""
    drift = np.abs(p_fake - reference)
    auc = float(roc_auc_score(is_fake, p_fake))
    same = [thresholds.verdict(a) == thresholds.verdict(b) for a, b in zip(p_fake, reference, strict=True)]
    return Comparison(
        name=name,
        auc=auc,
        auc_loss=float(roc_auc_score(is_fake, reference)) - auc,
        agreement=float(np.mean(same)),
        mean_drift=float(drift.mean()),
        max_drift=float(drift.max()),
        real_called_fake=float((p_fake[~is_fake] >= thresholds.fake).mean()),
        size_bytes=size_bytes,
    )


def comparison_table(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the lines of a Markdown table of comparisons."""
    head = ("file", "AUC", "AUC loss", "same verdict", "mean drift", "max drift", "real called fake", "MB")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [
        f"| {c.name} | {c.auc:.4f} | {c.auc_loss:+.4f} | {c.agreement:.2%} | {c.mean_drift:.5f} | {c.max_drift:.4f} "
        f"| {c.real_called_fake:.1%} | {c.size_bytes / 1e6:.2f} |"
        for c in comparisons
    ]
    return lines
