import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from facetell.edge.errors import DatasetError
from facetell.pipeline.backbones import (
    BACKBONE_LAYER,
    BACKBONES,
    HEAD_LAYER,
    build_network,
    default_weights,
    detector,
    load_model,
    seed_dropout,
    speed_up,
)

SIZE_PX = 64


def built(fast: bool, name: str = "mobilenet_v3_small") -> Any:
    keras.utils.set_random_seed(0)
    model = detector(build_network("none", name), SIZE_PX)
    if fast:
        speed_up(model)
    return model


def step(model: keras.Model) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the gradients of one batch, and all weights after it: the moving statistics change."""
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (16, SIZE_PX, SIZE_PX, 3)).astype(np.float32), rng.integers(0, 2, (16, 1))
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
    model.get_layer(BACKBONE_LAYER).trainable = False
    before = [weights.copy() for weights in model.get_weights()]
    _, after = step(model)
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def pixels(count: int, size_px: int = SIZE_PX) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size_px, size_px, 3)).astype(np.float32)


@pytest.mark.parametrize("size_px", [32, 128])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_takes_pixels_and_gives_one_probability(name: str, size_px: int) -> None:
    model: Any = detector(build_network("none", name), size_px)
    p_fake = model(pixels(3, size_px)).numpy()
    assert p_fake.shape == (3, 1)
    assert ((p_fake > 0) & (p_fake < 1)).all()


@pytest.mark.parametrize("name", BACKBONES)
def test_batch_norms_follow_a_short_training(name: str) -> None:
    layers = build_network("none", name).get_layer(BACKBONE_LAYER).layers
    momenta = {layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == (set() if name == "cnn" else {0.99})


PREPROCESSED = {
    # what Keras' own preprocessing makes of the pixels before the first convolution
    "mobilenet": ("conv1", keras.applications.mobilenet.preprocess_input),
    "mobilenet_v2": ("Conv1", keras.applications.mobilenet_v2.preprocess_input),
    "mobilenet_v3_small": ("conv", lambda x: x / 127.5 - 1),
    "efficientnet_b0": ("stem_conv_pad", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
    "efficientnet_lite0": ("conv_stem", lambda x: (x - 127) / 128),
    "cnn": ("resizing", lambda x: x / 255),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_each_scales_pixels_as_its_weights_want_them(name: str) -> None:
    model = build_network("none", name)
    backbone: Any = model.get_layer(BACKBONE_LAYER)
    before, wanted = PREPROCESSED[name]
    images = pixels(2)
    taken = model.get_layer("pixels")(images) if "pixels" in {layer.name for layer in model.layers} else images
    first = next(layer for layer in backbone.layers if layer.name.startswith(before))
    reached = keras.Model(backbone.input, first.input)(taken).numpy()
    assert reached == pytest.approx(wanted(images.astype(np.float64)), abs=1e-4)


def test_the_means_in_imagenets_weights_are_not_taken_off_twice(tmp_path: Path) -> None:
    """Neither at once nor in what is saved, loaded or cloned: Keras keeps a Normalization's values in two places."""
    other: Any = keras.applications.EfficientNetB0(input_shape=(SIZE_PX, SIZE_PX, 3), include_top=False, weights=None)
    normalization = next(layer for layer in other.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(1)])
    other.save_weights(tmp_path / "imagenet.weights.h5")
    model: Any = detector(build_network(str(tmp_path / "imagenet.weights.h5"), "efficientnet_b0"), SIZE_PX)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    images = pixels(2)
    for same in (load_model(tmp_path / "model.keras"), clone):
        assert same.predict_on_batch(images) == pytest.approx(model.predict_on_batch(images), abs=1e-6)
    backbone = model.get_layer(BACKBONE_LAYER)
    first = next(layer for layer in backbone.layers if layer.name.startswith("stem_conv_pad"))
    reached = keras.Model(backbone.input, first.input)(model.get_layer("pixels")(images)).numpy()
    wanted = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert reached == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0"])
def test_what_is_dropped_depends_on_seed_and_epoch_alone(name: str) -> None:
    def states(seed: int, epoch: int) -> list[tuple[int, ...]]:
        model = build_network("none", name)
        seed_dropout(model, seed, epoch)
        layers = [*model.layers, *model.get_layer(BACKBONE_LAYER).layers]
        return [tuple(x.seed_generator.state.numpy()) for x in layers if isinstance(x, keras.layers.Dropout)]

    first = states(3, 2)
    assert first == states(3, 2)
    assert len(first) == len(set(first)) == (1 if name == "mobilenet_v3_small" else 10)
    assert not set(first) & set(states(3, 3))
    assert not set(first) & set(states(4, 2))


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_come_from_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "own.weights.h5"
    built(False, name).get_layer(BACKBONE_LAYER).save_weights(path)
    keras.utils.set_random_seed(1)
    loaded, images = build_network(str(path), name), pixels(2)
    own, read = (model.get_layer(BACKBONE_LAYER)(images).numpy() for model in (built(False, name), loaded))
    assert read == pytest.approx(own, abs=1e-6)


def test_weights_come_from_an_earlier_run(tmp_path: Path) -> None:
    earlier, images = built(True), pixels(2)
    earlier.save(tmp_path / "model.keras")
    keras.utils.set_random_seed(1)
    later: Any = build_network(str(tmp_path / "model.keras"), kinds=3)
    own, read = (model.get_layer(BACKBONE_LAYER)(images).numpy() for model in (earlier, later))
    assert read == pytest.approx(own, abs=1e-6)


def test_an_earlier_run_of_another_network_is_named(tmp_path: Path) -> None:
    built(True, "cnn").save(tmp_path / "model.keras")
    with pytest.raises(DatasetError, match=r"or the model\.keras of a run of it"):
        build_network(str(tmp_path / "model.keras"))


def test_only_the_small_network_has_no_imagenet_weights() -> None:
    assert {name: default_weights(name) for name in BACKBONES} == dict.fromkeys(BACKBONES, "imagenet") | {"cnn": "none"}
    with pytest.raises(DatasetError, match="no ImageNet weights of cnn; give --weights none"):
        build_network("imagenet", "cnn")
    with pytest.raises(DatasetError, match="ImageNet weights of efficientnet_lite0; give their file"):
        build_network("imagenet", "efficientnet_lite0")


@pytest.mark.parametrize(("content", "reason"), [(None, "does not exist"), (b"no weights", "cannot be loaded")])
def test_weights_that_cannot_be_loaded_are_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "my.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        build_network(str(path))


@pytest.mark.parametrize("kinds", [1, 2, 5])
def test_what_is_used_says_what_was_trained(kinds: int) -> None:
    network: Any = build_network("none", "cnn", kinds=kinds)
    head = network.get_layer(HEAD_LAYER)
    head.set_weights([np.random.default_rng(0).normal(0, 5, head.kernel.shape), np.linspace(-1, 1, kinds)])
    images = pixels(8)
    trained, used = network.predict_on_batch(images), detector(network, SIZE_PX).predict_on_batch(images)
    scores = keras.Model(network.input, head.output).predict_on_batch(images)
    assert np.ptp(scores) > 0.03
    assert used == pytest.approx(trained["p_fake"], abs=1e-6)
    odds = np.hstack([np.ones((8, 1)), np.exp(scores)])
    assert trained["kind"] == pytest.approx(odds / odds.sum(axis=1, keepdims=True), abs=1e-6)
    assert trained["p_fake"] == pytest.approx(1 - trained["kind"][:, :1], abs=1e-6)


@pytest.mark.parametrize("score", [-1e4, 1e4])
def test_scores_beyond_all_measure_are_a_probability(score: float) -> None:
    network: Any = build_network("none", "cnn", kinds=3)
    head = network.get_layer(HEAD_LAYER)
    head.set_weights([np.zeros(head.kernel.shape), np.full(3, score)])
    assert detector(network, SIZE_PX).predict_on_batch(pixels(1)) == pytest.approx(float(score > 0))
