"""A Keras detector as .tflite: raw pixels in, [real, fake] out, batch of one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ..edge.calibration import Calibration
from ..edge.runtime import silent_stderr

FLOAT_PRECISIONS = ("float32", "float16")

_BEHIND_SCORES = ("Activation", "Log", "Sum", "Exp")  # what pipeline.backbones.any_kind is made of, and the sigmoid


def convert(model: keras.Model, precisions: Sequence[str] = FLOAT_PRECISIONS) -> dict[str, bytes]:
    """Return the model, (B, S, S, 3) RGB 0..255 to p_fake (B, 1), as .tflite files by precision.

    Both take and give float32 tensors; float16 stores the weights in half the size. What the model gives besides
    p_fake comes as further outputs.
    """
    size_px = model.input_shape[1]
    image = keras.Input(batch_shape=(1, size_px, size_px, 3), name="image")
    given: Any = model(image, training=False)
    p_fake, *others = given if isinstance(given, list | tuple) else [given]
    real_fake: Any = keras.layers.Concatenate(name="real_fake")([1.0 - p_fake, p_fake])
    both = keras.Model(image, [real_fake, *others] if others else real_fake)
    signature = [tf.TensorSpec((1, size_px, size_px, 3), tf.float32, name="image")]  # browsers want a fixed batch
    with tempfile.TemporaryDirectory() as folder, silent_stderr():
        # The only route that works for Keras 3; from_concrete_functions aborts the whole process.
        both.export(folder, verbose=False, input_signature=signature)
        return {precision: _converter(folder, precision).convert() for precision in precisions}


def with_calibration(model: Any, calibration: Calibration) -> tuple[Any, Calibration]:
    """Return the model with its calibration inside, and the one that is then left to be applied.

    A network that ends in the sigmoid of a dense layer takes it into that layer's weights; any other is left as it is,
    and so is a temperature where there are several scores, as it would change what they come to together.
    """
    head = dense_head(model)
    if head is None or (head.units > 1 and calibration.temperature != 1):
        return model, calibration
    kernel, bias = head.get_weights()
    calibrated = keras.models.clone_model(model)
    calibrated.set_weights(model.get_weights())
    calibrated.get_layer(head.name).set_weights(
        [kernel / calibration.temperature, bias / calibration.temperature + calibration.bias]
    )
    return calibrated, Calibration()


def dense_head(model: Any) -> Any:
    """Return the dense layer of whose output, or outputs together, a model gives the sigmoid; None if there is none."""
    steps = model.operations
    last = steps[-1]
    head: Any = next((step for step in reversed(steps) if type(step).__name__ not in _BEHIND_SCORES), None)
    is_dense = isinstance(head, keras.layers.Dense) and head.use_bias and (head.units == 1 or head is not last)
    ends_in_sigmoid = getattr(last, "activation", None) is keras.activations.sigmoid
    is_head = is_dense and ends_in_sigmoid and (head is last or head.activation is keras.activations.linear)
    return head if is_head else None


def _converter(folder: str, precision: str) -> Any:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter
