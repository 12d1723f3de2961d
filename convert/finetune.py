"""The network learns to be rounded: what 8 bits say is trained towards what the float network says."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..edge.errors import ModelError
from .graph import Graph
from .simulate import Simulation

_LEARNING_RATE = 6e-5
_WARMUP_SHARE = 0.05
_REPORT_EVERY = 100


def fine_tune(graph: Graph, batches: Iterable[np.ndarray], steps: int, progress: Callable[[str], None]) -> Graph:
    """Return the graph after steps batches of (B, S, S, 3) float32 RGB 0..255; it needs no labels.

    The teacher is the graph itself without rounding; what is compared are the logits and the features before them.
    Raises ModelError when the loss is no number.
    """
    teacher, student = Simulation(graph), Simulation(copy.deepcopy(graph))
    rate: Any = keras.optimizers.schedules.CosineDecay(
        _LEARNING_RATE / 20,
        decay_steps=max(1, round(steps * (1 - _WARMUP_SHARE))),
        warmup_target=_LEARNING_RATE,
        warmup_steps=max(1, round(steps * _WARMUP_SHARE)),
    )
    optimizer: Any = keras.optimizers.Adam(rate)
    optimizer.build(student.variables)
    huber: Any = keras.losses.Huber()

    @tf.function
    def learn(images: Any) -> Any:
        wanted_features, wanted_logits = teacher.run(images, rounded=False)
        spread = tf.math.reduce_std(wanted_features, axis=0) + tf.math.reduce_std(wanted_features) * 0.05 + 1e-6
        with tf.GradientTape() as tape:
            features, logits = student.run(images, rounded=True)
            feature_error = tf.reduce_mean(((features - wanted_features) / spread) ** 2)
            loss = feature_error + huber(wanted_logits, logits)
        optimizer.apply(tape.gradient(loss, student.variables), student.variables)
        return loss

    for done, images in zip(range(1, steps + 1), batches, strict=False):
        loss = float(learn(tf.constant(images)))
        if not math.isfinite(loss):
            raise ModelError(f"the fine-tune has no number for its loss after {done} steps")
        if done % _REPORT_EVERY == 0:
            progress(f"fine-tuning, step {done} of {steps}, loss {loss:.4f}")
    student.write_back()
    return student.graph
