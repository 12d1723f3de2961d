"""What a training left in its folder."""

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np

from facetell.pipeline.backbones import BACKBONE_LAYER


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
