"""A Keras detector as .tflite: raw pixels in, [real, fake] out, batch of one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..edge.runtime import silent_stderr


def convert(model: keras.Model, calibration_crops: Iterable[np.ndarray]) -> dict[str, bytes]:
    """Return the model, (1, S, S, 3) RGB 0..255 to p_fake (1, 1), as .tflite files by precision.

    float32 takes a float32 tensor. int8 takes and gives uint8 and is quantised per channel on calibration_crops,
    (S, S, 3) uint8 RGB.
    """
    image = keras.Input(batch_shape=(1, *model.input_shape[1:]), name="image")
    p_fake = model(image, training=False)
    both = keras.Model(image, keras.layers.Concatenate(name="real_fake")([1.0 - p_fake, p_fake]))
    with tempfile.TemporaryDirectory() as folder, silent_stderr():
        # The only route that works for Keras 3; from_concrete_functions aborts the whole process.
        both.export(folder, verbose=False)
        return {"float32": _converter(folder).convert(), "int8": _int8_converter(folder, calibration_crops).convert()}


def _converter(folder: str) -> Any:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    # Per-channel dense weights need FULLY_CONNECTED 12, which tflite-runtime 2.14 lacks and crashes on for arm64.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return converter


def _int8_converter(folder: str, crops: Iterable[np.ndarray]) -> Any:
    def representative() -> Iterator[list[np.ndarray]]:
        for crop in crops:
            yield [crop[np.newaxis].astype(np.float32)]

    converter = _converter(folder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    return converter
