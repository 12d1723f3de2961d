"""A Keras detector as .tflite: raw pixels in, [real, fake] out, batch of one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ..edge.runtime import silent_stderr

FLOAT_PRECISIONS = ("float32", "float16")


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


def dense_head(model: Any) -> Any:
    """Return the dense layer a model ends in, with the sigmoid of its one score, or of all kinds' together, or None.

    The latter are taken together as pipeline.backbones.any_kind does it.
    """
    steps = [step for step in model.operations if not isinstance(step, keras.layers.InputLayer)]
    kinds = [type(step).__name__ for step in steps]
    ends_in_sigmoid = getattr(steps[-1], "activation", None) is keras.activations.sigmoid
    for behind in ([], ["Activation"], ["Exp", "Sum", "Log", "Activation"]):
        head: Any = steps[-1 - len(behind)] if len(steps) > len(behind) else None
        if ends_in_sigmoid and isinstance(head, keras.layers.Dense) and kinds[len(steps) - len(behind) :] == behind:
            is_one = head.units == 1 or len(behind) > 1
            is_linear = not behind or head.activation is keras.activations.linear
            return head if head.use_bias and is_one and is_linear else None
    return None


def _converter(folder: str, precision: str) -> Any:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter
