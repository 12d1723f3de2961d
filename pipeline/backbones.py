"""The network: a MobileNetV3-Small that takes raw pixels and gives the probability of a fake."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ..edge.errors import DatasetError

NAME = "mobilenet_v3_small"
BACKBONE_LAYER = "MobileNetV3Small"
DROPOUT = 0.2

BATCH_NORM_MOMENTUM = 0.99
"""Keras sets .999 here, which a fine-tune of a few hundred steps leaves behind: inference then sees other statistics
than training did, and calls nearly everything fake. .99 follows the weights within about a hundred batches."""


def build_model(size_px: int = 224, weights: str = "imagenet") -> keras.Model:
    """Return an untrained detector: (B, S, S, 3) float32 RGB 0..255 in, p_fake (B, 1) out.

    weights is 'imagenet' (downloaded by Keras), 'none', or a file of backbone weights without its top.
    Raises DatasetError when the weights cannot be loaded.
    """
    backbone: Any = keras.applications.MobileNetV3Small(
        input_shape=(size_px, size_px, 3),
        include_top=False,
        weights=None,  # pyright: ignore[reportArgumentType]
        pooling="avg",
        name=BACKBONE_LAYER,
    )
    _load_weights(backbone, weights)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    image = keras.Input((size_px, size_px, 3), name="image")
    features = keras.layers.Dropout(DROPOUT)(backbone(image))
    return keras.Model(image, keras.layers.Dense(1, activation="sigmoid", name="p_fake")(features), name="facetell")


def load_model(path: Path) -> Any:
    """Return the Keras model in a .keras file of the user's own; raises DatasetError when it cannot be loaded."""
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises ValueError, zipfile's and h5py's errors, KeyError, ...
        raise DatasetError(f"{path} cannot be loaded as a Keras model; train it again: {error}") from error


def speed_up(model: Any) -> None:
    """Let a model train faster on a CPU; what it computes, and what is saved of it, stays as it is.

    Keras 3 spells batch statistics, hard-swish and their gradients out in elementary operations, each of which goes
    through memory once more; TensorFlow's fused batch norm and a hard-swish with a gradient of its own replace them.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            speed_up(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.call = partial(_batch_norm, layer)
        elif getattr(layer, "activation", None) is keras.activations.hard_silu:
            layer.call = _hard_swish


def _batch_norm(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    if not (training and layer.trainable):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs, layer.gamma.value, layer.beta.value, epsilon=layer.epsilon, is_training=True
    )[:3]
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + new * (1 - layer.momentum))
    return outputs


@tf.custom_gradient
def _hard_swish(x: Any) -> Any:
    gate = tf.nn.relu6(x + 3)

    def gradient(upstream: Any) -> Any:
        return upstream * (gate + x * tf.cast(tf.abs(x) < 3, x.dtype)) / 6

    return x * gate / 6, gradient


def _load_weights(backbone: keras.Model, weights: str) -> None:
    if weights == "none":
        return
    try:
        if weights == "imagenet":
            downloaded = keras.applications.MobileNetV3Small(
                input_shape=backbone.input_shape[1:], include_top=False, weights="imagenet", pooling="avg"
            )
            backbone.set_weights(downloaded.get_weights())
        elif not Path(weights).is_file():
            raise DatasetError(f"the weights file {weights} does not exist; wanted a file, imagenet or none")
        else:
            backbone.load_weights(weights)
    except DatasetError:
        raise
    except Exception as error:  # urllib, h5py and Keras each raise their own
        raise DatasetError(
            f"the weights {weights!r} cannot be loaded ({error}); give a MobileNetV3-Small .weights.h5 file without "
            "its top to --weights, or none"
        ) from error
