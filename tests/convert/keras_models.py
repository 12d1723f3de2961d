"""Small models of Keras as hobby projects build and save them, and pictures to score."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from facetell.convert.foreign import load_foreign

SIZE_PX = 32
PICTURES = np.random.default_rng(0).uniform(0, 255, (4, SIZE_PX, SIZE_PX, 3)).astype(np.float32)
PICTURES *= np.array([0.1, 0.4, 0.7, 1.0], np.float32).reshape(4, 1, 1, 1)


def sequential(*inner: Any, size: tuple[int | None, ...] = (SIZE_PX, SIZE_PX, 3)) -> Any:
    return keras.Sequential([keras.Input(size), *inner])


def head(units: int = 1, activation: str | None = "sigmoid") -> list[Any]:
    return [layers.GlobalAveragePooling2D(), layers.Dense(units, activation=activation)]


def cnn() -> Any:
    convolutions = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(4, 3)]
    return sequential(layers.Rescaling(1 / 255), *convolutions, layers.Flatten(), layers.Dense(1, activation="sigmoid"))


def warmed(model: Any) -> Any:
    """Return a model whose batch norms know the pictures, so that what comes out differs by picture."""

    def prepare(outer: Any) -> None:
        for layer in outer.layers:
            if isinstance(layer, keras.Model):
                prepare(layer)
            elif isinstance(layer, layers.BatchNormalization):
                layer.momentum = 0.0
            elif isinstance(layer, layers.Dropout):
                layer.rate = 0.0

    prepare(model)
    model(PICTURES, training=True)
    return model


def saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def load(path: Path, pixel_range: str = "0..255", positive: str = "fake", trust: bool = True) -> Any:
    return load_foreign(path, pixel_range=pixel_range, positive=positive, trust=trust)


def assert_same(loaded: Any, model: Any) -> None:
    wanted = model(PICTURES, training=False).numpy()
    assert np.ptp(wanted) > 5e-4
    assert loaded(PICTURES).numpy() == pytest.approx(wanted, abs=2e-5)
