"""Crops for a training, and what it left in its folder."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from facetell.edge.manifest import Record, read_manifest, write_manifest
from facetell.pipeline.backbones import BACKBONE_LAYER


def relabelled(crops: Path, folder: Path, change: Callable[[Record], Record]) -> Path:
    """Return a copy of a crops folder whose records are changed."""
    shutil.copytree(crops, folder)
    write_manifest(folder, map(change, read_manifest(crops)))
    return folder


def history_of(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def backbone_weights(path: Path) -> dict[str, np.ndarray]:
    backbone: Any = keras.saving.load_model(path).get_layer(BACKBONE_LAYER)
    return {weight.path: weight.numpy() for weight in backbone.weights}


def all_weights(run: Path) -> list[np.ndarray]:
    """Return the weights of a run's model, the head's last."""
    model: Any = keras.saving.load_model(run / "model.keras")
    return model.get_weights()
