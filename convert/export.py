"""From a finished run to a bundle."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..edge.bundle import CARD, FACE_DETECTOR, FORMAT, LABELS_FILE, MANIFEST
from ..edge.calibration import Calibration, fit_calibration
from ..edge.crops import read_crop
from ..edge.errors import DatasetError
from ..edge.faces import centre
from ..edge.files import new_folder
from ..edge.manifest import LABELS, Record, read_manifest, select
from ..edge.run import MODEL_FILE, Run, check_split
from .card import NOTICE, model_card
from .metadata import with_metadata
from .tflite import convert
from .verify import Comparison, compare, load_keras, score_bundle, score_keras

CALIBRATION_CROPS = 320
"""Training crops, balanced over sources and labels, that set the int8 ranges."""


@dataclass(frozen=True)
class ExportSettings:
    """What a bundle says of itself beyond what the run knows."""

    name: str
    license: str = "the terms of its training data"
    data_notes: str = "Whoever trained this model should say here what the pictures are and what their terms allow."
    """Markdown for the model card: the training data and its terms."""


def export(
    run_folder: Path,
    output: Path,
    settings: ExportSettings,
    *,
    crops: Path | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> list[Comparison]:
    """Write a run's bundle and return how its files compare with the Keras model on the validation split.

    Raises DatasetError when the run or its crops cannot be read or were split again, or output exists.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DatasetError(f"{output} exists already; choose another folder with -o, or delete it first")
    run = Run.read(run_folder)
    crops = crops or Path(run.crops)
    records = read_manifest(crops)
    training, validation = select(records, "train"), select(records, "validation")
    check_split(run_folder, training + validation)
    progress("converting to float32 and int8")
    keras.backend.clear_session()  # Keras numbers layers through a process; the same run shall give the same bytes
    model = load_keras(run_folder)
    images = [
        centre(read_crop(crops, record), run.input_size_px) for record in balanced_sample(training, CALIBRATION_CROPS)
    ]
    files = {
        name: with_metadata(content, settings.name, settings.license)
        for name, content in convert(model, images).items()
    }
    with new_folder(output) as partial:
        manifest = _write_files(partial, run, settings, files)
        comparisons = _calibrate(partial, manifest, run_folder, crops, validation, progress)
        card = model_card(manifest, run, _reports(run_folder, run.split_sha256), comparisons, settings.data_notes)
        (partial / CARD).write_text(card, encoding="utf-8")
    return comparisons


def balanced_sample(records: Sequence[Record], count: int, seed: int = 0) -> list[Record]:
    """Return about count records, as many of each source and label as there are, drawn without replacement."""
    rng = np.random.default_rng(seed)
    strata: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        strata[record.source, record.label].append(record)
    each = -(-count // len(strata))
    chosen: list[Record] = []
    for _, members in sorted(strata.items()):
        picks = rng.choice(len(members), min(each, len(members)), replace=False)
        chosen += [members[index] for index in sorted(picks)]
    return chosen


def _write_files(folder: Path, run: Run, settings: ExportSettings, files: dict[str, bytes]) -> dict[str, Any]:
    """Write everything but the card into folder and return the manifest, not yet calibrated for int8."""
    finder = _face_detector().read_bytes()
    (folder / FACE_DETECTOR).write_bytes(finder)
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    (folder / LABELS_FILE).write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    for precision, content in files.items():
        (folder / f"{precision}.tflite").write_bytes(content)
    manifest = {
        "format": FORMAT,
        "name": settings.name,
        "version": hashlib.sha256(files["float32"]).hexdigest()[:8],
        "backbone": run.backbone,
        "input": {"size": run.input_size_px, "color": "RGB", "range": [0, 255]},
        "face": {
            "file": FACE_DETECTOR,
            "sha256": hashlib.sha256(finder).hexdigest(),
            "min_score": run.min_face_score,
            "margin_ratio": run.margin_ratio,
            "pre_cropped": run.pre_cropped,
        },
        "files": {
            precision: {
                "file": f"{precision}.tflite",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_bytes": len(content),
            }
            | asdict(run.calibration)
            for precision, content in files.items()
        },
        "thresholds": asdict(run.thresholds),
        "metrics": {},
        "trained_on": _trained_on(run),
        "license": settings.license,
        "created_with": run.versions,
    }
    _write_manifest(folder, manifest)
    return manifest


def _calibrate(
    folder: Path,
    manifest: dict[str, Any],
    run_folder: Path,
    crops: Path,
    validation: Sequence[Record],
    progress: Callable[[str], None],
) -> list[Comparison]:
    """Give the int8 file a calibration of its own, measure both files and write the final manifest."""
    labels = np.array([record.is_fake for record in validation])
    run = Run.read(run_folder)
    keras_bytes = (run_folder / MODEL_FILE).stat().st_size
    progress("scoring the validation crops with keras")
    reference = score_keras(run_folder, crops, validation)
    comparisons = [compare("keras", reference, reference, labels, run.thresholds, keras_bytes)]
    for precision, entry in manifest["files"].items():
        progress(f"scoring the validation crops with {precision}")
        p_fake = score_bundle(folder, crops, validation, precision)
        if precision != "float32":
            # What quantisation shifts on average is refitted; on top of the float calibration, since both are affine.
            refit = fit_calibration(p_fake, labels)
            refitted = Calibration(
                entry["temperature"] * refit.temperature, entry["bias"] / refit.temperature + refit.bias
            )
            entry |= asdict(refitted)
            p_fake = refit.apply(p_fake)
        comparison = compare(precision, p_fake, reference, labels, run.thresholds, entry["size_bytes"])
        comparisons.append(comparison)
        manifest["metrics"][precision] = {"split": "validation", "pictures": len(validation)} | asdict(comparison)
    _write_manifest(folder, manifest)
    return comparisons


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _face_detector() -> Path:
    package = find_spec("mediapipe")
    if package is None or not package.origin:
        raise ModuleNotFoundError("No module named 'mediapipe'", name="mediapipe")
    return Path(package.origin).parent / "modules" / "face_detection" / "face_detection_short_range.tflite"


def _trained_on(run: Run) -> list[str]:
    counts: dict[str, list[str]] = defaultdict(list)
    for key, number in run.pictures.items():
        source, label, split = key.rsplit(" ", 2)
        if split == "train":
            counts[source].append(f"{number} {label}")
    return [f"{source} ({', '.join(numbers)})" for source, numbers in sorted(counts.items())]


def _reports(run_folder: Path, split_sha256: str) -> list[dict[str, Any]]:
    reports = [json.loads(path.read_text()) for path in sorted(run_folder.glob("evaluation-*/report.json"))]
    return [report for report in reports if report["split_sha256"] == split_sha256]
