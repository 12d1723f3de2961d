"""int8 that keeps the cues: which operations run in 8 bits, in which ranges, and the file that says so.

Convolutions and the sums of their outputs run in 8 bits once the map is a sixteenth of the picture's side, where most
of the weights and the work are. What comes before sees the finest detail and has few weights; what bends, gates or goes
channel by channel (hard-swish, squeeze-and-excite, depthwise convolutions, the head) gains nothing from 8 bits and
loses most by them. All of that stays in float, and XNNPACK runs both kinds in one piece. Large weights are 8 bits
throughout: one scale per output channel, unfolded by the runtime when it loads them.
"""

from __future__ import annotations

import copy
import math

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from ..edge.errors import ModelError
from .graph import ABSENT, CHANNEL_AXIS, Graph, Operation, Quantization

LEVELS = 255
WEIGHT_LIMIT = 127
"""8-bit weights are symmetric: -127..127."""

HARD_SWISH_ZERO = -3.0
"""Hard-swish is zero from here down, so 8 bits need not tell apart what lies below."""

_SMALL_WEIGHTS = 1024  # fewer stay in float: it costs a few kilobytes and keeps the stem exact
_INT8_VERSIONS = {"CONV_2D": 3, "ADD": 2}
_HARD_SWISH_FLOOR = 6.0  # the least range of a channel before a hard-swish: twice its bend
_LEAST_SHARE = 1 / 16  # of the widest channel's range, that a channel counts with
_BIAS_LIMIT = 2**30  # leaves as much room for what is added to it
_CLIPS = np.linspace(0.15, 1, 35)


def prepare(content: bytes, int8_below: float) -> Graph:
    """Return a float .tflite file's graph with the operations marked that are to run in 8 bits.

    int8_below is the side of a map, as a share of the picture's, from which on they do; 0 leaves all in float.
    Raises ModelError when the file holds tensors of unknown types.
    """
    graph = Graph.read(content)
    _own_constants(graph)
    _fix_shapes(graph)
    largest = math.ceil(graph.tensors[graph.input].shape[1] * int8_below)
    head = max(place for place, step in enumerate(graph.operations) if step.kind in CHANNEL_AXIS)
    in_8_bits: set[int] = set()
    for step in graph.operations[:head]:
        if step.kind == "CONV_2D":
            shape, weights = graph.tensors[step.inputs[0]].shape, graph.tensors[step.inputs[1]]
            step.int8 = 1 < shape[1] <= largest and weights.shape[3] == shape[3]  # no groups of channels
        elif step.kind == "ADD":
            step.int8 = in_8_bits.issuperset(step.inputs)
        if step.int8:
            in_8_bits.add(step.output)
    _fit_weights(graph)
    return graph


def eight_bit_weights(graph: Graph) -> list[tuple[Operation, int]]:
    """Return the operations whose weights are stored in 8 bits, each with its weights' tensor."""
    return [
        (step, step.inputs[1])
        for step in graph.operations
        if step.kind in CHANNEL_AXIS and (step.int8 or graph.tensors[step.inputs[1]].value.size >= _SMALL_WEIGHTS)
    ]


def eight_bit_tensors(graph: Graph) -> list[int]:
    """Return the computed tensors that have a range: what 8-bit operations take and give."""
    found = {}
    for step in graph.operations:
        if step.int8:
            found.update(dict.fromkeys(index for index in step.inputs if graph.tensors[index].constant is None))
            found[step.output] = None
    return list(found)


def equalise(graph: Graph, values: dict[int, np.ndarray]) -> None:
    """Divide each channel by its range where it is made and multiply it where it is used.

    One scale for a whole tensor then fits every channel of it (cross-layer equalisation, Nagel et al. 2019,
    arXiv:1906.04721). Weights carry the factors for nothing; beside an operation in float a multiplication does.
    values are those (N, C) that each tensor takes.
    """
    for group in _groups(graph):
        makers = [step for step in graph.operations if step.output in group]
        users = [step for step in graph.operations if group & set(step.inputs)]
        if any(step.int8 and step.activation not in ("NONE", "RELU") for step in makers):
            continue  # the fused activation bends at a fixed value
        if not any(values[tensor].any() for tensor in group):
            continue  # a dead map has no ranges
        before_swish = any(step.kind == "HARD_SWISH" for step in users)
        bottom = HARD_SWISH_ZERO if before_swish else -np.inf
        ranges = np.max([np.abs(np.maximum(values[tensor], bottom)).max(axis=0) for tensor in group], axis=0)
        least = _HARD_SWISH_FLOOR if before_swish else ranges.max() * _LEAST_SHARE
        scale = np.maximum(ranges, least) / max(ranges.max(), least)
        for step in makers:
            if not step.int8:
                _multiply_output(graph, step, 1 / scale, group)
            elif step.kind == "CONV_2D":
                _scale_outputs(graph, step, 1 / scale)
        for step in users:
            if step.int8 and step.kind == "CONV_2D":
                _scale_inputs(graph, step, scale)
        for tensor in group:
            if float_users := [step for step in users if tensor in step.inputs and not step.int8]:
                _multiply_for(graph, tensor, scale, float_users)


def set_ranges(graph: Graph, values: dict[int, np.ndarray]) -> None:
    """Give every 8-bit tensor the range that fits its values (N, C) best, and every 8-bit weight its scale."""
    for tensor in eight_bit_tensors(graph):
        fitted = best_range(np.maximum(values[tensor], _bottom(graph, tensor)).reshape(-1))
        graph.tensors[tensor].quantization = eight_bits(*fitted)
    _fit_weights(graph)


def eight_bits(low: float, high: float) -> Quantization:
    """Return scale and zero point of a range; zero is always exact."""
    scale = max(high - low, 1e-6) / LEVELS
    return Quantization(np.array([scale]), np.array([np.clip(np.round(-128 - low / scale), -128, 127)]))


def best_range(values: np.ndarray) -> tuple[float, float]:
    """Return the range in which 8 bits have the least squared error on values (N,)."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if low == high:
        return 0.0, 1.0  # a dead map; a scale of about nothing would leave biases no room

    def error(low: float, high: float) -> float:
        fit = eight_bits(low, high)
        stored = np.clip(np.round(values / fit.scale) + fit.zero_point, -128, 127)
        return float(np.mean(((stored - fit.zero_point) * fit.scale - values) ** 2))

    if high > 0:
        high = high * min(_CLIPS, key=lambda share: error(low, high * share))
    if low < 0:
        low = low * min(_CLIPS, key=lambda share: error(low * share, high))
    return low, high


def _fit_weights(graph: Graph) -> None:
    for step, index in eight_bit_weights(graph):
        weights, axis = graph.tensors[index], CHANNEL_AXIS[step.kind]
        others = tuple(other for other in range(weights.value.ndim) if other != axis)
        largest = np.abs(weights.value).max(axis=others)
        scale = np.maximum(largest, largest.max() * 1e-3 + 1e-9) / WEIGHT_LIMIT
        weights.quantization = Quantization(scale.astype(np.float32), np.zeros(scale.size), axis)


def _bottom(graph: Graph, tensor: int) -> np.ndarray | float:
    """Return below what the values of a tensor make no difference, for each channel."""
    users = graph.consumers(tensor)
    factors = np.ones(1)
    if len(users) == 1 and users[0].kind == "MUL" and graph.tensors[users[0].inputs[1]].constant is not None:
        factors = graph.tensors[users[0].inputs[1]].value.reshape(-1)
        users = graph.consumers(users[0].output)
    if [step.kind for step in users] != ["HARD_SWISH"] or factors.min() <= 0:
        return -np.inf
    return HARD_SWISH_ZERO / factors


def int8_file(graph: Graph) -> bytes:
    """Return the .tflite file of a graph whose 8-bit tensors have their ranges; uint8 in, float32 out."""
    return _Writer(graph).write()


class _Writer:
    """Turns the marked operations into 8-bit ones, with conversions where float and 8 bits meet."""

    def __init__(self, graph: Graph) -> None:
        self.graph = copy.deepcopy(graph)
        self.operations: list[Operation] = []
        self.as_int8: dict[int, int] = {}
        self.as_float: dict[int, int] = {}
        self.stored = {weights for _, weights in eight_bit_weights(graph)}

    def write(self) -> bytes:
        graph = self.graph
        pixels = graph.tensors[graph.input]
        pixels.dtype, pixels.quantization = np.dtype(np.uint8), Quantization(np.ones(1), np.zeros(1))
        self.as_int8[graph.input] = graph.input  # it only has to be dequantised
        for step in graph.operations:
            self._add(step)
        graph.operations = self.operations
        return graph.write()

    def _add(self, step: Operation) -> None:
        graph = self.graph
        convert = self._int8 if step.int8 else self._float
        inputs = [convert(index) if graph.tensors[index].constant is None else index for index in step.inputs]
        if step.kind in CHANNEL_AXIS and step.inputs[1] in self.stored:
            inputs[1] = self._weights(step)
        output = step.output
        if step.int8:
            output = graph.add(f"{graph.tensors[output].name}_int8", graph.tensors[output].shape, np.int8)
            graph.tensors[output].quantization = self._quantization(step.output)
            self.as_int8[step.output] = output
            if step.kind == "CONV_2D":
                inputs[2] = self._bias(step, inputs)
        else:
            self.as_float[output] = output
        version = _INT8_VERSIONS[step.kind] if step.int8 else step.version
        self.operations.append(Operation(step.kind, inputs, output, step.options, version))

    def _int8(self, tensor: int) -> int:
        if tensor not in self.as_int8:
            shape = self.graph.tensors[tensor].shape
            self.as_int8[tensor] = self.graph.add(f"{self.graph.tensors[tensor].name}_int8", shape, np.int8)
            self.graph.tensors[self.as_int8[tensor]].quantization = self._quantization(tensor)
            options = schema.QuantizeOptionsT()
            self.operations.append(Operation("QUANTIZE", [tensor], self.as_int8[tensor], options))
        return self.as_int8[tensor]

    def _float(self, tensor: int) -> int:
        if tensor not in self.as_float:
            self.as_float[tensor] = self._dequantized(self.as_int8[tensor])
        return self.as_float[tensor]

    def _dequantized(self, tensor: int) -> int:
        source = self.graph.tensors[tensor]
        output = self.graph.add(f"{source.name}_float", source.shape)
        per_channel = source.fit.scale.size > 1
        version = 5 if per_channel else 2 if source.dtype == np.int8 else 1
        self.operations.append(Operation("DEQUANTIZE", [tensor], output, schema.DequantizeOptionsT(), version))
        return output

    def _quantization(self, tensor: int) -> Quantization:
        planned = self.graph.tensors[tensor].fit
        return Quantization(planned.scale, planned.zero_point)

    def _weights(self, step: Operation) -> int:
        weights = self.graph.tensors[step.inputs[1]]
        planned = weights.fit
        stored = np.clip(np.round(weights.value / along_axis(planned, weights.shape)), -WEIGHT_LIMIT, WEIGHT_LIMIT)
        index = self.graph.add(f"{weights.name}_int8", weights.shape, np.int8, stored)
        self.graph.tensors[index].quantization = planned
        return index if step.int8 else self._dequantized(index)

    def _bias(self, step: Operation, inputs: list[int]) -> int:
        taken, weights = (self.graph.tensors[index].fit for index in inputs[:2])
        scale = (taken.scale * weights.scale).astype(np.float32)
        bias = self.graph.tensors[step.inputs[2]]
        stored = np.round(bias.value / scale)
        if np.abs(stored).max() > _BIAS_LIMIT:
            raise ModelError(f"{bias.name} does not fit into 32 bits beside its 8-bit weights")
        index = self.graph.add(f"{bias.name}_int32", bias.shape, np.int32, stored)
        self.graph.tensors[index].quantization = Quantization(scale, np.zeros(scale.size))
        return index


def along_axis(quantization: Quantization, shape: tuple[int, ...]) -> np.ndarray:
    """Return the scales in a shape that broadcasts against a tensor's."""
    return quantization.scale.reshape([-1 if axis == quantization.axis else 1 for axis in range(len(shape))])


def _own_constants(graph: Graph) -> None:
    """Give every operation constants of its own, biases of zero among them, so that one changes without another."""
    for step in graph.operations:
        if step.kind in CHANNEL_AXIS and step.inputs[2:] in ([], [ABSENT]):
            channels = graph.tensors[step.output].shape[-1]
            zeros = graph.add("bias", (channels,), constant=np.zeros(channels, np.float32))
            step.inputs = [*step.inputs[:2], zeros]
        for place, index in enumerate(step.inputs):
            if graph.tensors[index].constant is not None:
                step.inputs[place] = graph.copy_of(index)


def _fix_shapes(graph: Graph) -> None:
    """Write the shapes of RESHAPE as constants: the batch is one, so nothing of them need be computed."""
    for step in graph.operations:
        if step.kind == "RESHAPE":
            shape = np.array(graph.tensors[step.output].shape, np.int32)
            step.inputs[1] = graph.add("shape", shape.shape, np.int32, shape)
    while dead := [
        step for step in graph.operations if step.output != graph.output and not graph.consumers(step.output)
    ]:
        graph.operations = [step for step in graph.operations if step not in dead]


def _groups(graph: Graph) -> list[set[int]]:
    """Return the 8-bit tensors that must share their channels' factors."""
    group_of = {tensor: {tensor} for tensor in eight_bit_tensors(graph)}
    for step in graph.operations:
        if step.int8 and step.kind == "ADD":
            merged = set().union(*(group_of[index] for index in (*step.inputs, step.output)))
            group_of.update(dict.fromkeys(merged, merged))
    return [group for tensor, group in group_of.items() if tensor == min(group)]


def _scale_outputs(graph: Graph, step: Operation, factor: np.ndarray) -> None:
    weights, bias = (graph.tensors[index] for index in step.inputs[1:3])
    weights.constant = (weights.value * factor.reshape(-1, 1, 1, 1)).astype(np.float32)
    bias.constant = (bias.value * factor).astype(np.float32)


def _scale_inputs(graph: Graph, step: Operation, factor: np.ndarray) -> None:
    weights = graph.tensors[step.inputs[1]]
    weights.constant = (weights.value * factor).astype(np.float32)


def _multiply_output(graph: Graph, step: Operation, factor: np.ndarray, group: set[int]) -> None:
    """Multiply what a float operation gives to 8-bit ones; through its gate, if it has one, which is far smaller."""
    users = [user for user in graph.consumers(step.output) if user.int8]
    gates = [index for index in step.inputs if _is_gate(graph, index)] if step.kind == "MUL" else []
    if gates and step.activation in ("NONE", "RELU") and users == graph.consumers(step.output):
        _multiply_for(graph, gates[0], factor, [step])
        return
    group.remove(step.output)
    group.add(_multiply_for(graph, step.output, factor, users))


def _is_gate(graph: Graph, tensor: int) -> bool:
    return graph.tensors[tensor].constant is None and graph.tensors[tensor].shape[1:3] == (1, 1)


def _multiply_for(graph: Graph, tensor: int, factor: np.ndarray, users: list[Operation]) -> int:
    """Insert a product of a tensor and a vector of channels for some of its users, and return it."""
    constant = factor.reshape(1, 1, 1, -1).astype(np.float32)
    vector = graph.add("channel_factors", constant.shape, constant=constant)
    product = graph.add(f"{graph.tensors[tensor].name}_equalised", graph.tensors[tensor].shape)
    multiplication = Operation("MUL", [tensor, vector], product, schema.MulOptionsT())
    graph.operations.insert(graph.operations.index(users[0]), multiplication)
    for user in users:
        user.inputs = [product if index == tensor else index for index in user.inputs]
    return product
