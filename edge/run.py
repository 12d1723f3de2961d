"""A training run's folder: what train writes, and evaluate and export read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .bundle import Bundle
from .calibration import Calibration, Thresholds
from .crops import read_crop_settings
from .errors import DatasetError
from .files import write_text
from .manifest import LABELS, RESERVED, Record, read_manifest

RUN_FILE = "run.json"
MODEL_FILE = "model.keras"
PICTURES = "pictures.csv"
"""The manifest of the crops as it was at the training."""


@dataclass(frozen=True)
class Run:
    """What is known of a finished training."""

    backbone: str
    crops: str
    """The crops folder it was trained on."""
    split_sha256: str
    input_size_px: int
    margin_ratio: float
    shown_ratio: float
    min_face_px: float
    pre_cropped: bool
    calibration: Calibration
    thresholds: Thresholds
    validation_auc: float
    """Of the pictures that chose epoch and calibration (chosen_by)."""
    pictures: dict[str, int]
    """'source label split' -> number of crops."""
    arguments: dict[str, Any]
    """Of the training, the seed among them."""
    versions: dict[str, str]

    @property
    def chosen_by(self) -> str:
        """The split of the pictures that chose epoch and calibration: reserved or validation."""
        known = (key.rsplit(" ", 2) for key in self.pictures)
        return RESERVED if {label for _, label, split in known if split == RESERVED} == set(LABELS) else "validation"

    def write(self, folder: Path) -> None:
        """Write folder/run.json."""
        write_text(folder / RUN_FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read folder/run.json; raises DatasetError when the folder holds no finished run, or an earlier version's."""
        try:
            values = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
            if "calibration" in values and "shown_ratio" not in values:
                raise DatasetError(f"{folder} was trained by an earlier facetell; crop its pictures and train again")
            calibration, thresholds = Calibration(**values["calibration"]), Thresholds(**values["thresholds"])
            return cls(**values | {"calibration": calibration, "thresholds": thresholds})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _no_run(folder) from error


def check_split(run_folder: Path, records: Iterable[Record]) -> None:
    """Raise DatasetError when a picture of the run stands in another split than at its training, and so may leak."""
    if not (run_folder / PICTURES).exists():
        raise _no_run(run_folder)
    then: dict[str, set[str]] = defaultdict(set)  # the faces of one picture may stand in train and be excluded
    for record in read_manifest(run_folder, PICTURES):
        then[record.sha256].add(record.split)
    moved = {r.sha256 for r in records if r.sha256 in then and r.split not in then[r.sha256]}
    if moved:
        raise DatasetError(
            f"{len(moved)} pictures stand in another split than at the training of {run_folder}, so some that it was "
            "trained on could pass for new ones; train again, or split as it was"
        )


def check_cut(model: Run | Bundle, crops: Path) -> None:
    """Raise DatasetError when crops were not cut like those that a model was trained on."""
    cut = read_crop_settings(crops)
    names = ("input_size_px", "margin_ratio", "shown_ratio", "pre_cropped")
    if differing := [name for name in names if getattr(cut, name) != getattr(model, name)]:
        had = ", ".join(f"{name} {getattr(cut, name)}, the model wants {getattr(model, name)}" for name in differing)
        raise DatasetError(f"{crops} does not fit the model: {had}; run facetell crop again")


def _no_run(folder: Path) -> DatasetError:
    return DatasetError(f"{folder} holds no finished run; make one with: facetell train CROPS -o {folder}")
