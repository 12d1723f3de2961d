"""A detector that also gives the map its score is the mean of: explain.tflite."""

from __future__ import annotations

from typing import Any

import keras

from .tflite import dense_head


def with_map(model: Any) -> keras.Model | None:
    """Return a detector that gives p_fake (B, 1) and the evidence for a fake by place, (B, h, w, 1).

    The head is a dense layer over the mean of a map, so it may as well be applied to every place of that map: the mean
    of the evidence is the head's score, exactly (class activation mapping, Zhou et al. 2016, arXiv:1512.04150). The
    evidence for several kinds is weighted by how likely each is, which is how far the log-odds of any kind follow it;
    the remainder of these log-odds is spread over all places. None for a network whose head is anything else.
    """
    head = dense_head(model)
    features = head and _before_the_mean(model, head)
    if head is None or features is None:
        return None
    kernel, bias = head.get_weights()
    everywhere = keras.layers.Conv2D(head.units, 1, name="evidence")
    evidence = everywhere(features.output)
    everywhere.set_weights([kernel[None, None], bias])
    scores: Any = keras.layers.GlobalAveragePooling2D()(evidence)
    score = scores
    for step in model.operations[model.operations.index(head) + 1 : -1]:
        score = step(score)
    if head.units > 1:
        shares = keras.layers.Softmax()(scores)
        missing = score - _weighted(scores, shares)
        evidence = _weighted(evidence, _everywhere(shares)) + _everywhere(missing)
    p_fake = keras.layers.Activation("sigmoid")(score)
    return keras.Model(features.input, [p_fake, evidence])


def _weighted(values: Any, shares: Any) -> Any:
    # Not a sum: a model that was loaded has an operation of that name.
    return keras.ops.mean(values * shares * shares.shape[-1], axis=-1, keepdims=True)


def _everywhere(values: Any) -> Any:
    return keras.layers.Reshape((1, 1, values.shape[-1]))(values)


def _before_the_mean(model: Any, head: Any) -> keras.Model | None:
    """Return a model as far as the map whose mean the head sees; None where it sees anything else."""
    node = _maker(model.output)
    while node.operation is not head:
        node = _maker(node.input_tensors[0])
    node = _maker(node.input_tensors[0])
    while isinstance(node.operation, keras.layers.Dropout):
        node = _maker(node.input_tensors[0])
    made_by: Any = node.operation
    if isinstance(made_by, keras.layers.GlobalAveragePooling2D):
        return keras.Model(model.input, node.input_tensors[0])
    if isinstance(made_by, keras.Model) and isinstance(made_by.layers[-1], keras.layers.GlobalAveragePooling2D):
        backbone: Any = keras.Model(made_by.input, made_by.layers[-1].input)
        return keras.Model(model.input, backbone(node.input_tensors[0]))
    return None


def _maker(tensor: Any) -> Any:
    """Return the node of Keras' graph that a tensor comes from: an operation and what it was called with."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]
