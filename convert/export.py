"""From a finished run, or a model trained elsewhere, to a bundle."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from ..edge.bundle import CARD, EXPLAIN, FACE_DETECTOR, FORMAT, LABELS_FILE, MANIFEST, PRECISIONS, load_bundle
from ..edge.calibration import Calibration, error_rates
from ..edge.crops import read_crop_settings
from ..edge.errors import DatasetError, ModelError
from ..edge.files import new_folder
from ..edge.manifest import (
    LABELS,
    Record,
    deciding,
    read_manifest,
    select,
    split_sha256,
    without_sources,
)
from ..edge.run import MODEL_FILE, Run, check_cut, check_split
from ..edge.scoring import calibrate, score_crops
from .card import NOTICE, CardSettings, model_card
from .explain import with_map
from .foreign import load_foreign
from .metadata import with_metadata
from .quantize import quantize
from .tflite import convert
from .verify import (
    HERE,
    Comparison,
    compare,
    find_places,
    keras_row,
    load_keras,
    score_bundle,
    with_latencies,
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """What is exported: a Keras model and what is known of its training."""

    model: Any
    """(B, S, S, 3) float32 RGB 0..255 to raw p_fake (B, 1)."""
    size_bytes: int
    crops: Path
    run: Run
    reports: Sequence[dict[str, Any]]
    """The report.json of its evaluations."""


def from_run(run_folder: Path, crops: Path | None = None) -> Subject:
    """Return a finished run; raises DatasetError when it is none, or its crops were cut or split again."""
    run = Run.read(run_folder)
    crops = crops or Path(run.crops)
    check_cut(run, crops)
    records = read_manifest(crops)
    check_split(run_folder, select(records, "train") + select(records, "validation") + deciding(records))
    reports = [json.loads(path.read_text()) for path in sorted(run_folder.glob("evaluation-*/report.json"))]
    reports = [report for report in reports if report["split_sha256"] == run.split_sha256]
    return Subject(load_keras(run_folder), (run_folder / MODEL_FILE).stat().st_size, crops, run, reports)


def from_keras(path: Path, crops: Path, *, pixel_range: str, positive: str, trust: bool) -> Subject:
    """Return a model that was trained elsewhere, calibrated on the validation split of crops of its input's size.

    Raises ModelError when it cannot be used or scores the wrong way round, DatasetError when the crops are of another
    size or lack a label.
    """
    model = load_foreign(path, pixel_range=pixel_range, positive=positive, trust=trust)
    cut, size_px = read_crop_settings(crops), int(model.input_shape[1])
    if cut.input_size_px != size_px:
        raise DatasetError(
            f"{path} takes {size_px} x {size_px} pixels, the crops are made for {cut.input_size_px}; make others with: "
            f"facetell crop DATASET -o CROPS --size {size_px}"
        )
    records = read_manifest(crops)
    validation = deciding(records)
    labels = np.array([record.is_fake for record in validation])
    raw, calibration, thresholds = calibrate(model.predict_on_batch, crops, records)
    if (validation_auc := float(roc_auc_score(labels, raw))) < 0.5:
        raise ModelError(
            f"{path} gives fakes lower scores than reals (AUC {validation_auc:.3f} on {len(labels)} crops); "
            "is --positive the other one?"
        )
    run = Run(
        backbone=f"{path.name}, trained elsewhere",
        crops=str(crops.resolve()),
        split_sha256=split_sha256(records),
        input_size_px=size_px,
        margin_ratio=cut.margin_ratio,
        shown_ratio=cut.shown_ratio,
        min_face_px=cut.min_face_px,
        pre_cropped=cut.pre_cropped,
        calibration=calibration,
        thresholds=thresholds,
        validation_auc=validation_auc,
        pictures=dict(sorted(Counter(f"{r.source} {r.label} {r.split}" for r in validation).items())),
        arguments={"pixel_range": pixel_range, "positive": positive},
        versions={"python": platform.python_version()} | {name: version(name) for name in ("tensorflow", "keras")},
    )
    return Subject(model, path.stat().st_size, crops, run, [])


def export(
    subject: Subject,
    output: Path,
    settings: CardSettings,
    *,
    pythons: Sequence[Sequence[str]] = (HERE,),
    progress: Progress = lambda step: None,
) -> list[Comparison]:
    """Write a bundle and return how its files compare with the Keras model on the validation crops.

    A float16 or int8 file that does not hold on every runtime of every Python is left out. Raises DatasetError when
    output exists, ModelError when float32 does not hold or cannot be scored.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DatasetError(f"{output} exists already; choose another folder with -o, or delete it first")
    with new_folder(output) as partial:
        return _Export(subject, partial, settings, pythons, progress).write()


class _Export:
    """One bundle in the making: files are added to it, each measured wherever it is to run."""

    def __init__(
        self,
        subject: Subject,
        folder: Path,
        settings: CardSettings,
        pythons: Sequence[Sequence[str]],
        progress: Progress,
    ) -> None:
        self.subject, self.run, self.settings = subject, subject.run, settings
        self.crops, self.folder, self.progress = subject.crops, folder, progress
        records = without_sources(read_manifest(self.crops), self.run.arguments.get("leave_out", ()))
        self.validation = select(records, "validation")
        self.labels = np.array([record.is_fake for record in self.validation])
        self.places = find_places(pythons)
        progress("scoring with keras")
        self.reference = self.run.calibration.apply(self._raw(self.validation))
        self.deciding = deciding(records)
        self.comparisons = [keras_row(self.reference, self.labels, subject.size_bytes)]
        self.manifest = self._manifest()

    def write(self) -> list[Comparison]:
        finder = _face_detector().read_bytes()
        (self.folder / FACE_DETECTOR).write_bytes(finder)
        (self.folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
        (self.folder / LABELS_FILE).write_text("\n".join(LABELS) + "\n", encoding="utf-8")
        self.manifest["face"]["sha256"] = hashlib.sha256(finder).hexdigest()
        self.progress("converting to float32, float16 and int8")
        keras.backend.clear_session()  # Keras numbers layers through a process; the same run shall give the same bytes
        model, calibration = self.subject.model, self.run.calibration
        files = convert(model)
        for precision in PRECISIONS:
            try:
                if precision == "int8":
                    files["int8"] = quantize(files["float32"])
                    if len(files["int8"]) >= len(files["float16"]):
                        raise ModelError("int8 is no smaller than float16")
                self._add(precision, files[precision], calibration)
                self.comparisons += self._holding(precision)
            except ModelError as error:
                if precision == "float32":
                    raise
                self.progress(f"without {precision}: {error}")
                self._drop(precision)
        self._explain(model, calibration)
        bundle = load_bundle(self.folder)
        self.comparisons = with_latencies(self.comparisons, self.folder, bundle, self.places, self.progress)
        for precision in bundle.classifiers:
            self._note(precision, [known for known in self.comparisons if known.file == precision])
        card = model_card(self.manifest, self.run, self.subject.reports, self.comparisons, self.settings)
        (self.folder / CARD).write_text(card, encoding="utf-8")
        return self.comparisons

    def _raw(self, records: Sequence[Record]) -> np.ndarray:
        return score_crops(self.subject.model.predict_on_batch, self.crops, records)

    def _error_rates(self) -> list[dict[str, Any]]:
        """Return the error rates of other thresholds on the faces that chose the calibration."""
        p_fake = self.run.calibration.apply(self._raw(self.deciding))
        return [asdict(rate) for rate in error_rates(p_fake, np.array([record.is_fake for record in self.deciding]))]

    def _explain(self, model: Any, calibration: Calibration) -> None:
        explaining = with_map(model)
        if explaining is None or calibration != Calibration():
            self.progress(f"without {EXPLAIN}: this network's head is no dense layer over the mean of a map")
            return
        content = convert(explaining, ("float16",))["float16"]
        (self.folder / EXPLAIN).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        self.manifest["explain"] = {"file": EXPLAIN, "sha256": sha256, "size_bytes": len(content)}
        self._write_manifest()

    def _add(self, precision: str, content: bytes, calibration: Calibration) -> None:
        content = with_metadata(content, self.settings.name, self.settings.license)
        name = f"{precision}.tflite"
        (self.folder / name).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        entry = {"file": name, "sha256": sha256, "size_bytes": len(content)} | asdict(calibration)
        self.manifest["files"][precision] = entry
        if precision == "float32":
            self.manifest["version"] = sha256[:8]
        self._write_manifest()

    def _drop(self, precision: str) -> None:
        (self.folder / f"{precision}.tflite").unlink(missing_ok=True)
        self.manifest["files"].pop(precision, None)
        self._write_manifest()

    def _holding(self, precision: str) -> list[Comparison]:
        """Compare a file everywhere, and note it in the manifest; raises ModelError where it does not hold."""
        bundle = load_bundle(self.folder)
        comparisons = []
        for place in self.places:
            self.progress(f"scoring with {precision}, {place}")
            p_fake = score_bundle(self.folder, self.crops, self.validation, precision, place.runtime, place.python)
            comparisons.append(compare(precision, place, p_fake, self.reference, self.labels, bundle))
        self._note(precision, comparisons)
        worst = min(comparisons, key=lambda comparison: (comparison.holds, comparison.agreement))
        if not worst.holds:
            raise ModelError(f"{precision} does not say what Keras says: {worst.in_words()}")
        return comparisons

    def _note(self, precision: str, comparisons: Sequence[Comparison]) -> None:
        measured = [asdict(comparison) for comparison in comparisons]
        self.manifest["metrics"][precision] = {
            "split": "validation",
            "pictures": len(self.validation),
            "measured": measured,
        }
        self._write_manifest()

    def _manifest(self) -> dict[str, Any]:
        run = self.run
        return {
            "format": FORMAT,
            "name": self.settings.name,
            "version": "",
            "backbone": run.backbone,
            "input": {"size": run.input_size_px, "color": "RGB", "range": [0, 255]},
            "face": {
                "file": FACE_DETECTOR,
                "sha256": "",
                "min_face_px": run.min_face_px,
                "margin_ratio": run.margin_ratio,
                "shown_ratio": run.shown_ratio,
                "pre_cropped": run.pre_cropped,
            },
            "files": {},
            "thresholds": asdict(run.thresholds),
            "error_rates": self._error_rates(),
            "metrics": {},
            "trained_on": _trained_on(run),
            "license": self.settings.license,
            "created_with": run.versions,
        }

    def _write_manifest(self) -> None:
        (self.folder / MANIFEST).write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")


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
