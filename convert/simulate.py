"""A graph as TensorFlow runs it, in batches, with the rounding to 8 bits in it or without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..edge.errors import ModelError
from .graph import CHANNEL_AXIS, Graph, Operation
from .quantize import WEIGHT_LIMIT, along_axis, eight_bit_tensors, eight_bit_weights, eight_bits

_PADDINGS = ("SAME", "VALID")
_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"NONE": tf.identity, "RELU": tf.nn.relu, "RELU6": tf.nn.relu6}
_BATCH = 32
_VALUES_PER_CROP = 600


class Simulation:
    """A graph up to its last weights, whose output are the logits; what is to be 8 bits can be trained.

    Weights are trained in units of their channel's largest, biases in units of their output's range, ranges by the
    logarithm of a factor, so that one learning rate suits them all.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        last = max(place for place, step in enumerate(graph.operations) if step.kind in CHANNEL_AXIS)
        self._steps = graph.operations[: last + 1]
        self._limits = {tensor: _limits(graph, tensor) for tensor in eight_bit_tensors(graph)}
        self._stretch = {tensor: [tf.Variable(tf.zeros(())) for _ in range(2)] for tensor in self._limits}
        self._weights, self._biases, self._unit = {}, {}, {}
        for step, index in eight_bit_weights(graph):
            weights = graph.tensors[index]
            self._unit[index] = WEIGHT_LIMIT * along_axis(weights.fit, weights.shape).astype(np.float32)
            self._weights[index] = tf.Variable(weights.value / self._unit[index])
            if step.int8:
                bias = step.inputs[2]
                low, high = self._limits[step.output]
                self._unit[bias] = np.float32(high - low)
                self._biases[bias] = tf.Variable(graph.tensors[bias].value / self._unit[bias])

    @property
    def variables(self) -> list[tf.Variable]:
        """All that can be trained."""
        stretch = [variable for pair in self._stretch.values() for variable in pair]
        return [*self._weights.values(), *self._biases.values(), *stretch]

    def run(self, images: Any, *, rounded: bool, watch: Callable[[int, Any], None] | None = None) -> tuple[Any, Any]:
        """Return the features before the last weights and the logits after them, of (B, S, S, 3) float32 RGB 0..255.

        watch is called with every computed tensor. Raises ModelError for an operation that is not known here.
        """
        values, taken = {self.graph.input: images}, []
        rounded_values: dict[int, Any] = {}
        for step in self._steps:
            taken = [
                self._rounded(index, values, rounded_values)
                if rounded and step.int8 and index in self._limits
                else self._value(index, values, rounded)
                for index in step.inputs
            ]
            values[step.output] = _compute(step, taken, self.graph.tensors[step.output].shape)
            if watch:
                watch(step.output, values[step.output])
            if rounded and step.int8:
                values[step.output] = self._rounded(step.output, values, rounded_values)
        return taken[0], values[self._steps[-1].output]

    def write_back(self) -> None:
        """Write what was trained into the graph."""
        for index, variable in self._weights.items():
            self.graph.tensors[index].constant = variable.numpy() * self._unit[index]
        for index, variable in self._biases.items():
            self.graph.tensors[index].constant = variable.numpy() * self._unit[index]
        for tensor in self._limits:
            low, high = (float(limit) for limit in self._range(tensor))
            self.graph.tensors[tensor].quantization = eight_bits(low, high)

    def _value(self, index: int, values: dict[int, Any], rounded: bool) -> Any:
        if index in values:
            return values[index]
        if index in self._weights:
            weights = self._weights[index] * WEIGHT_LIMIT
            if rounded:  # the gradient passes as if it had not been (Bengio et al. 2013, arXiv:1308.3432)
                whole = tf.clip_by_value(tf.round(weights), -WEIGHT_LIMIT, WEIGHT_LIMIT)
                weights += tf.stop_gradient(whole - weights)
            return weights * (self._unit[index] / WEIGHT_LIMIT)
        if index in self._biases:
            return self._biases[index] * self._unit[index]
        return tf.constant(self.graph.tensors[index].value)

    def _rounded(self, index: int, values: dict[int, Any], rounded_values: dict[int, Any]) -> Any:
        if index not in rounded_values:
            low, high = self._range(index)
            rounded_values[index] = tf.quantization.fake_quant_with_min_max_vars(values[index], low, high)
        return rounded_values[index]

    def _range(self, tensor: int) -> tuple[Any, Any]:
        (low, high), (stretch_low, stretch_high) = self._limits[tensor], self._stretch[tensor]
        return low * tf.exp(stretch_low), high * tf.exp(stretch_high)


def observe(graph: Graph, crops: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Return a sample of the values (N, C) of every tensor on (S, S, 3) uint8 crops, the extremes of channels in it."""
    rng = np.random.default_rng(0)
    found: dict[int, list[np.ndarray]] = defaultdict(list)

    def watch(tensor: int, batch: Any) -> None:
        values = batch.numpy()
        values = values.reshape(-1, values.shape[-1])
        picks = rng.integers(0, len(values), max(1, _VALUES_PER_CROP * _BATCH // values.shape[1]))
        found[tensor].append(np.concatenate([values[picks], [values.min(axis=0), values.max(axis=0)]]))

    simulation = Simulation(graph)
    for start in range(0, len(crops), _BATCH):
        simulation.run(np.stack(crops[start : start + _BATCH]).astype(np.float32), rounded=False, watch=watch)
    return {tensor: np.concatenate(samples) for tensor, samples in found.items()}


def _limits(graph: Graph, tensor: int) -> tuple[float, float]:
    fit = graph.tensors[tensor].quantization
    if fit is None:  # not fitted yet
        return 0.0, 1.0
    return float((-128 - fit.zero_point[0]) * fit.scale[0]), float((127 - fit.zero_point[0]) * fit.scale[0])


def _compute(step: Operation, taken: list[Any], shape: tuple[int, ...]) -> Any:
    options, activation = step.options, _ACTIVATIONS.get(step.activation)
    match step.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D" if getattr(options, "depthMultiplier", 1) == 1:
            convolve = tf.nn.conv2d if step.kind == "CONV_2D" else tf.nn.depthwise_conv2d
            kernel = tf.transpose(taken[1], (1, 2, 3, 0))
            dilations = (options.dilationHFactor, options.dilationWFactor)
            output = convolve(taken[0], kernel, _strides(options), _PADDINGS[options.padding], dilations=dilations)
            output += taken[2]
        case "FULLY_CONNECTED":
            output = tf.matmul(taken[0], taken[1], transpose_b=True) + taken[2]
        case "MAX_POOL_2D" | "AVERAGE_POOL_2D":
            pool = tf.nn.max_pool2d if step.kind == "MAX_POOL_2D" else tf.nn.avg_pool2d
            window = (options.filterHeight, options.filterWidth)
            output = pool(taken[0], window, _strides(options), _PADDINGS[options.padding])
        case "ADD":
            output = taken[0] + taken[1]
        case "SUB":
            output = taken[0] - taken[1]
        case "MUL":
            output = taken[0] * taken[1]
        case "DIV":
            output = taken[0] / taken[1]
        case "MEAN":
            output = tf.reduce_mean(taken[0], taken[1], keepdims=options.keepDims)
        case "PAD":
            output = tf.pad(taken[0], taken[1])
        case "RESHAPE":
            output = tf.reshape(taken[0], (-1, *shape[1:]))
        case "RESIZE_BILINEAR":
            corners, centres = options.alignCorners, options.halfPixelCenters
            output = tf.raw_ops.ResizeBilinear(
                images=taken[0], size=taken[1], align_corners=corners, half_pixel_centers=centres
            )
        case "HARD_SWISH":
            output = taken[0] * tf.nn.relu6(taken[0] + 3) / 6
        case "LOGISTIC":
            output = tf.sigmoid(taken[0])
        case "RELU" | "RELU6":
            output = _ACTIVATIONS[step.kind](taken[0])
        case _:
            output = None
    if output is None or activation is None:
        raise ModelError(f"the model holds a {step.kind} with {step.activation}, which facetell cannot turn to 8 bits")
    return activation(output)


def _strides(options: Any) -> tuple[int, int, int, int]:
    return (1, options.strideH, options.strideW, 1)
