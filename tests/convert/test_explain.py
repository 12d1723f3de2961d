"""The map that a score is the mean of: exact, and what Grad-CAM would show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from facetell.convert.explain import with_map
from facetell.convert.tflite import convert
from facetell.edge.runtime import TFLiteModel
from facetell.pipeline.backbones import BACKBONE_LAYER, build_network, detector, kind_scores, load_model

SIZE_PX = 64


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, SIZE_PX, SIZE_PX, 3)).astype(np.float32)


@pytest.fixture(scope="module", params=[1, 3], ids=["one kind", "three kinds"])
def network(request: pytest.FixtureRequest) -> Any:
    keras.utils.set_random_seed(0)
    return build_network("none", kinds=request.param)


def test_the_mean_of_the_map_is_the_score(network: Any) -> None:
    model, images = detector(network, SIZE_PX), pictures(4)
    explaining = with_map(model)
    assert explaining is not None
    p_fake, evidence = explaining.predict_on_batch(images)
    np.testing.assert_allclose(p_fake, model.predict_on_batch(images), atol=1e-6)
    score = np.logaddexp.reduce(kind_scores(network, SIZE_PX).predict_on_batch(images), axis=1, keepdims=True)
    np.testing.assert_allclose(evidence.mean(axis=(1, 2)), score, atol=1e-5)


def test_grad_cam_shows_the_same(network: Any) -> None:
    """Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), before its ReLU: gradients' means weigh the feature maps."""
    images = tf.constant(pictures(3))
    backbone = network.get_layer(BACKBONE_LAYER)
    features_of = keras.Model(backbone.input, backbone.layers[-1].input)
    head = network.get_layer("scores")
    with tf.GradientTape() as tape:
        features = features_of(images)
        tape.watch(features)
        score = tf.reduce_logsumexp(head(tf.reduce_mean(features, axis=(1, 2))), axis=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    grad_cam = tf.reduce_sum(weights * features, axis=-1).numpy()
    explaining = with_map(detector(network, SIZE_PX))
    assert explaining is not None
    _, evidence = explaining.predict_on_batch(images)
    places = evidence.shape[1] * evidence.shape[2]
    shown = grad_cam * places
    of_no_place = score.numpy() - shown.mean(axis=(1, 2))
    np.testing.assert_allclose(evidence[..., 0], shown + of_no_place[:, None, None], atol=1e-4)


def test_the_file_says_what_the_network_says(network: Any, tmp_path: Path) -> None:
    detector(network, SIZE_PX).save(tmp_path / "model.keras")
    explaining, image = with_map(load_model(tmp_path / "model.keras")), pictures(1)
    assert explaining is not None
    p_fake, evidence = explaining.predict_on_batch(image)
    outputs = TFLiteModel(convert(explaining, ("float16",))["float16"]).run(image)
    by_rank = {output.ndim: output for output in outputs}
    np.testing.assert_allclose(by_rank[2][:, 1:], p_fake, atol=5e-3)
    np.testing.assert_allclose(by_rank[4], evidence, atol=5e-3)


@pytest.mark.parametrize("units", [None, 8], ids=["flattened", "a layer between"])
def test_another_head_has_no_map(units: int | None) -> None:
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    x: Any = keras.layers.Conv2D(4, 3)(image)
    x = keras.layers.Dense(units)(keras.layers.GlobalAveragePooling2D()(x)) if units else keras.layers.Flatten()(x)
    assert with_map(keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(x))) is None


def test_a_network_of_somebody_else_has_one() -> None:
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    pooled: Any = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    p_fake = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dropout(0.5)(pooled))
    model, images = keras.Model(image, p_fake), pictures(2)
    explaining = with_map(model)
    assert explaining is not None
    np.testing.assert_allclose(explaining.predict_on_batch(images)[0], model.predict_on_batch(images), atol=1e-6)
