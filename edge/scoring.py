"""Scores of stored crops, whatever predicts them: training, evaluation and export all look at the same pixels.

python -m facetell.edge.scoring BUNDLE CROPS PRECISION RUNTIME    reads a JSON list of crops' paths, prints their scores
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .bundle import load_bundle
from .calibration import Calibration, Thresholds, choose_thresholds, fit_calibration
from .conditions import CONDITIONS, THRESHOLD_CONDITIONS
from .crops import network_view, read_crop, read_crop_settings
from .detector import Detector
from .errors import DatasetError, FacetellError
from .manifest import RESERVED, Record, deciding, read_manifest

_BATCH = 64


Predict = Callable[[np.ndarray], np.ndarray]
"""Takes (B, S, S, 3) float32 RGB 0..255 and returns raw p_fake (B, 1)."""


def score_crops(
    predict: Predict,
    crops: Path,
    records: Sequence[Record],
    change: Callable[[np.ndarray], np.ndarray] = lambda image: image,
) -> np.ndarray:
    """Return raw p_fake (N,) of the views of crops that a network scores, each after change((S, S, 3) uint8 RGB)."""
    settings, scores = read_crop_settings(crops), []
    for start in range(0, len(records), _BATCH):
        chosen = records[start : start + _BATCH]
        images = [change(network_view(read_crop(crops, record), record, settings)) for record in chosen]
        scores.append(predict(np.stack(images).astype(np.float32))[:, 0])
    return np.concatenate(scores)


def calibrate(
    predict: Predict, crops: Path, records: Sequence[Record], calibration: Calibration | None = None
) -> tuple[np.ndarray, Calibration, Thresholds]:
    """Return raw p_fake (N,) of the clean crops that decide, a calibration, and thresholds for THRESHOLD_CONDITIONS.

    The records are all of a crops folder. The calibration is fitted where none is given. No source may break the
    thresholds' promise, neither a reserved one nor one of the validation split.
    """
    decide = deciding(records)
    has_reserved = decide[0].split == RESERVED
    chosen = decide + [record for record in records if has_reserved and record.split == "validation"]
    labels = np.array([record.is_fake for record in chosen])
    raw = {name: score_crops(predict, crops, chosen, CONDITIONS[name]) for name in THRESHOLD_CONDITIONS}
    clean = raw["clean"][: len(decide)]
    calibration = calibration or fit_calibration(clean, labels[: len(decide)])
    p_fake = {name: calibration.apply(scores) for name, scores in raw.items()}
    splits = " and ".join(dict.fromkeys(record.split for record in chosen))
    return clean, calibration, choose_thresholds(p_fake, labels, [record.source for record in chosen], splits)


def score_with_bundle(bundle: Path, crops: Path, paths: Sequence[str], precision: str, runtime: str) -> list[float]:
    """Return the calibrated p_fake of crops, by their paths in the folder, from one file of a bundle.

    Raises ModelError for a bundle that cannot be run, DatasetError when a crop cannot be read.
    """
    detector, settings = Detector(load_bundle(bundle), precision=precision, runtime=runtime), read_crop_settings(crops)
    records = {record.path: record for record in read_manifest(crops)}
    return [detector.score(network_view(read_crop(crops, records[path]), records[path], settings)) for path in paths]


if __name__ == "__main__":
    _bundle, _crops, *_how = sys.argv[1:]
    try:
        answer = {"p_fake": score_with_bundle(Path(_bundle), Path(_crops), json.load(sys.stdin), *_how)}
    except DatasetError as error:
        answer = {"error": str(error)}
    except FacetellError as error:
        sys.exit(str(error))
    print(json.dumps(answer))
