import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from facetell.pipeline.backbones import build_model, load_model, speed_up

SIZE_PX = 64


def built(fast: bool) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model(SIZE_PX, "none")
    if fast:
        speed_up(model)
    return model


def step(model: keras.Model) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the gradients of one batch, and all weights after it: the moving statistics change."""
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (16, SIZE_PX, SIZE_PX, 3)).astype(np.float32), rng.integers(0, 2, (16, 1))
    model.layers[-2].rate = 0.0  # the two would drop differently
    with tf.GradientTape() as tape:
        loss = keras.losses.BinaryCrossentropy()(labels, model(images, training=True))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return [gradient.numpy() for gradient in gradients], model.get_weights()


def test_a_faster_model_learns_the_same() -> None:
    for slow, fast in zip(step(built(fast=False)), step(built(fast=True)), strict=True):
        for one, other in zip(slow, fast, strict=True):
            assert np.abs(one - other).max() <= 2e-3 * max(np.abs(one).max(), 1e-3)


def test_a_faster_model_is_saved_as_the_plain_one(tmp_path: Path) -> None:
    model, images = built(fast=True), np.random.default_rng(0).uniform(0, 255, (2, SIZE_PX, SIZE_PX, 3))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"facetell." not in archive.read("config.json")  # Keras alone can load it
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.predict_on_batch(images) == pytest.approx(model.predict_on_batch(images), abs=1e-6)


def test_frozen_layers_keep_their_statistics() -> None:
    model = built(fast=True)
    model.get_layer("MobileNetV3Small").trainable = False
    before = [weights.copy() for weights in model.get_weights()]
    _, after = step(model)
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
