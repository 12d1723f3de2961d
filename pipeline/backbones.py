"""The networks by name: each takes raw pixels, preprocesses them itself and gives the probability of a fake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from ..edge.errors import DatasetError
from .lite0 import efficientnet_lite0, load_pytorch

PIXELS_LAYER = "pixels"
BACKBONE_LAYER = "backbone"
HEAD_LAYER = "scores"
DROPOUT = 0.2

BATCH_NORM_MOMENTUM = 0.99
"""Keras sets .999 in MobileNetV2 and V3, which a fine-tune of a few hundred steps leaves behind: inference then sees
other statistics than training did, and calls nearly everything fake. .99 follows the weights within about a hundred
batches."""

CNN_SIZE_PX = 128

_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])
"""Of ImageNet's pixels, 0..1 (torchvision's documentation of its weights)."""


@dataclass(frozen=True)
class Backbone:
    """A network without its top, and what raw RGB 0..255 becomes before it: pixels * scale + offset, by channel."""

    build: Callable[..., keras.Model]
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    imagenet: Literal["download", "file"] | None = "download"
    """Where ImageNet weights come from, if there are any."""
    any_size: bool = True
    """False where pictures are resized to one size inside, so that smaller ones save nothing."""


def _small_cnn(
    input_shape: tuple[int | None, ...], include_top: bool, weights: None, pooling: str, name: str
) -> keras.Model:
    """Return three convolutions of 128-pixel faces, as beginners' notebooks have them."""
    image = keras.Input(input_shape)
    x: Any = keras.layers.Resizing(CNN_SIZE_PX, CNN_SIZE_PX)(image)
    for filters in (32, 64, 128):
        x = keras.layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
        x = keras.layers.MaxPooling2D()(x)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name=name)


BACKBONES = {
    "mobilenet_v3_small": Backbone(keras.applications.MobileNetV3Small),  # scales by itself
    "mobilenet": Backbone(keras.applications.MobileNet, scale=(1 / 127.5,), offset=(-1.0,)),
    "mobilenet_v2": Backbone(keras.applications.MobileNetV2, scale=(1 / 127.5,), offset=(-1.0,)),
    "efficientnet_b0": Backbone(  # divides by 255 itself; its Normalization is kept from doing anything
        keras.applications.EfficientNetB0,
        scale=tuple(1 / _IMAGENET_DEVIATION),
        offset=tuple(-255 * _IMAGENET_MEAN / _IMAGENET_DEVIATION),
    ),
    "efficientnet_lite0": Backbone(efficientnet_lite0, scale=(1 / 128,), offset=(-127 / 128,), imagenet="file"),
    "cnn": Backbone(_small_cnn, scale=(1 / 255,), imagenet=None, any_size=False),
}


def default_weights(backbone: str) -> str:
    """Return where a backbone's training starts unless told otherwise: imagenet, or none."""
    return "imagenet" if BACKBONES[backbone].imagenet else "none"


def build_network(
    weights: str | None = None,
    name: str = "mobilenet_v3_small",
    head_l2: float = 0.0,
    kinds: int = 1,
) -> keras.Model:
    """Return an untrained network for training: (B, S, S, 3) float32 RGB 0..255 of any S, to p_fake (B, 1) and kind.

    The head has a score for each kind of fake, against being real. kind (B, 1 + kinds) has the probability of being
    real and of each kind; p_fake is the sum of the latter. weights is 'imagenet' (downloaded by Keras), 'none', a file
    of backbone weights without its top, the model.keras of an earlier run, or None for default_weights; head_l2 is the
    factor of the L2 penalty on the head's weights.
    Raises DatasetError when the weights cannot be loaded.
    """
    known = BACKBONES[name]
    shape = (None, None, 3)
    backbone: Any = known.build(input_shape=shape, include_top=False, weights=None, pooling="avg", name=BACKBONE_LAYER)
    _load_weights(backbone, name, weights or default_weights(name))
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
        elif isinstance(layer, keras.layers.Normalization):
            # ImageNet's weights fill it with half of what they want (Keras adds the other half for weights="imagenet"
            # alone), and Keras forgets it in clones. What it should do stands in scale and offset.
            mean, variance, count = layer.get_weights()
            layer.set_weights([np.zeros_like(mean), np.ones_like(variance), count])
            layer.finalize_state()
    image = keras.Input(shape, name="image")
    pixels = image
    if known.scale != (1.0,):
        scale, offset = np.array(known.scale, np.float32), np.array(known.offset, np.float32)
        pixels = keras.layers.Rescaling(scale, offset, name=PIXELS_LAYER)(image)  # pyright: ignore[reportArgumentType]
    features = keras.layers.Dropout(DROPOUT)(backbone(pixels))
    penalty = keras.regularizers.L2(head_l2) if head_l2 else None
    scores = keras.layers.Dense(kinds, kernel_regularizer=penalty, name=HEAD_LAYER)(features)
    of_any = keras.ops.logsumexp(scores, axis=-1, keepdims=True)
    outputs = {
        "p_fake": keras.layers.Activation("sigmoid", name="p_fake")(of_any),
        "kind": keras.layers.Softmax(name="kind")(keras.ops.pad(scores, ((0, 0), (1, 0)))),
    }
    return keras.Model(image, outputs, name="facetell")


def detector(network: Any, size_px: int) -> Any:
    """Return what is used of a trained network, its weights shared: (B, S, S, 3) float32 RGB 0..255 to p_fake (B, 1).

    The scores of all kinds count, as in training: several kinds that each seem somewhat likely are how a fake of an
    unknown kind looks.
    """
    as_far_as_scores = kind_scores(network, size_px)
    scores: Any = as_far_as_scores.output
    if scores.shape[-1] > 1:
        scores = any_kind(scores)
    p_fake = keras.layers.Activation("sigmoid", name="p_fake")(scores)
    return keras.Model(as_far_as_scores.input, p_fake, name="facetell")


def any_kind(scores: Any) -> Any:
    """Return the log-odds (B, 1) of being any of the kinds, from the log-odds (B, kinds) of each against being real.

    Spelt out in operations that every runtime has.
    """
    return keras.ops.log(keras.ops.sum(keras.ops.exp(scores), axis=-1, keepdims=True))


def kind_scores(network: Any, size_px: int) -> Any:
    """Return a network or detector as far as its head's scores, its weights shared: RGB 0..255 to (B, kinds)."""
    image = keras.Input((size_px, size_px, 3), name="image")
    scores: Any = image
    for layer in network.layers:
        if layer.name in (PIXELS_LAYER, BACKBONE_LAYER, HEAD_LAYER):
            scores = layer(scores)
    return keras.Model(image, scores)


def load_model(path: Path) -> Any:
    """Return the Keras model in a .keras file of the user's own; raises DatasetError when it cannot be loaded."""
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises ValueError, zipfile's and h5py's errors, KeyError, ...
        raise DatasetError(f"{path} cannot be loaded as a Keras model; train it again: {error}") from error


def speed_up(model: Any) -> None:
    """Let a model train faster on a CPU; what it computes stays as it is, but for rounding, and so does what is saved.

    Keras 3 spells batch statistics, hard-swish and their gradients out in elementary operations, each of which goes
    through memory once more; TensorFlow's fused batch norm and a hard-swish with a gradient of its own replace them.
    The moving variance is then the unbiased one: times N / (N - 1), of the N values a batch has in a channel.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            speed_up(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.call = partial(_batch_norm, layer)
        elif getattr(layer, "activation", None) is keras.activations.hard_silu:
            layer.call = _hard_swish


def seed_dropout(model: Any, seed: int, epoch: int) -> None:
    """Let what is dropped depend on seed and epoch alone, so that a resumed run drops what a whole one would have."""
    layers = [*model.layers, *model.get_layer(BACKBONE_LAYER).layers]
    for number, layer in enumerate(layer for layer in layers if isinstance(layer, keras.layers.Dropout)):
        layer.seed_generator.state.assign((seed, epoch << 16 | number))


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
    shifted = x + 3
    gate = tf.nn.relu6(shifted) * (1 / 6)

    def gradient(upstream: Any) -> Any:
        through_gate = tf.raw_ops.Relu6Grad(gradients=upstream * x, features=shifted)
        return upstream * gate + through_gate * (1 / 6)

    return x * gate, gradient


def _load_weights(backbone: keras.Model, name: str, weights: str) -> None:
    if weights == "none":
        return
    try:
        if weights != "imagenet":
            if not Path(weights).is_file():
                raise DatasetError(f"the weights file {weights} does not exist; wanted a file, imagenet or none")
            if weights.endswith(".keras"):
                backbone.set_weights(load_model(Path(weights)).get_layer(BACKBONE_LAYER).get_weights())
            elif BACKBONES[name].imagenet == "file" and weights.endswith(".pth"):
                load_pytorch(backbone, Path(weights))
            else:
                backbone.load_weights(weights)
        elif BACKBONES[name].imagenet is None:
            raise DatasetError(f"there are no ImageNet weights of {name}; give --weights none, or a file")
        elif BACKBONES[name].imagenet == "file":
            raise DatasetError(
                f"nothing downloads the ImageNet weights of {name}; give their file to --weights, or none"
            )
        else:
            downloaded = BACKBONES[name].build(
                input_shape=(224, 224, 3), include_top=False, weights="imagenet", pooling="avg"
            )
            backbone.set_weights(downloaded.get_weights())
    except DatasetError:
        raise
    except Exception as error:  # urllib, h5py and Keras each raise their own
        raise DatasetError(
            f"the weights {weights!r} cannot be loaded ({error}); give a .weights.h5 file of {name} without its top, "
            "or the model.keras of a run of it, to --weights, or none"
        ) from error
