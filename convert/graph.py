"""A .tflite model as operations over tensors: read, changed and written again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from ..edge.errors import ModelError

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The axis of the output channels in the weights of the operations that have any; their inputs are x, weights, bias."""

ABSENT = -1
"""Stands among an operation's inputs where an optional one is left out."""

_SCHEMA_VERSION = 3
_KINDS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_ACTIVATIONS = {value: name for name, value in vars(schema.ActivationFunctionType).items() if isinstance(value, int)}
_DTYPES = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.INT32: np.dtype(np.int32),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.INT8: np.dtype(np.int8),
}


@dataclass
class Quantization:
    """real = scale * (stored - zero_point), with one of each or one for every index along axis."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0


@dataclass
class Tensor:
    """One with a constant is part of the model, one without is computed.

    The quantization of a float tensor is the one in which it is to be stored.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    constant: np.ndarray | None = None
    quantization: Quantization | None = None

    @property
    def value(self) -> np.ndarray:
        """The constant; raises ModelError when the tensor is computed."""
        if self.constant is None:
            raise ModelError(f"{self.name} is computed where facetell wants weights; it cannot turn that to 8 bits")
        return self.constant

    @property
    def fit(self) -> Quantization:
        """The quantization; raises ModelError when none was set."""
        if self.quantization is None:
            raise ModelError(f"{self.name} has no range yet")
        return self.quantization


@dataclass(eq=False)
class Operation:
    """One step; kind is TFLite's name for it, inputs and output are indices into the graph's tensors."""

    kind: str
    inputs: list[int]
    output: int
    options: Any = None
    """One of the schema's ...OptionsT."""
    version: int = 1
    int8: bool = False
    """Whether it is to be computed in 8 bits."""

    @property
    def activation(self) -> str:
        """The fused activation: NONE, RELU, RELU6, ..."""
        return _ACTIVATIONS[getattr(self.options, "fusedActivationFunction", 0)]


@dataclass
class Graph:
    """A model with one input and one output; operations stand in the order in which they run."""

    tensors: list[Tensor]
    operations: list[Operation]
    input: int
    output: int
    signature: tuple[str, str]
    """The names of input and output to those who call the model by its signature."""

    @classmethod
    def read(cls, content: bytes) -> Graph:
        """Read a .tflite file of one subgraph, whose operations have one output each.

        Raises ModelError for a tensor that is neither float32, int32, int8 nor uint8.
        """
        model: Any = schema.ModelT.InitFromPackedBuf(bytearray(content))
        (subgraph,), (signature,) = model.subgraphs, model.signatureDefs
        kinds = [_KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
        versions = [code.version for code in model.operatorCodes]
        return cls(
            tensors=[_read_tensor(tensor, model.buffers) for tensor in subgraph.tensors],
            operations=[
                Operation(
                    kinds[operator.opcodeIndex],
                    [int(index) for index in operator.inputs],
                    int(operator.outputs[0]),
                    operator.builtinOptions,
                    versions[operator.opcodeIndex],
                )
                for operator in subgraph.operators
            ],
            input=int(subgraph.inputs[0]),
            output=int(subgraph.outputs[0]),
            signature=(signature.inputs[0].name.decode(), signature.outputs[0].name.decode()),
        )

    def write(self) -> bytes:
        """Return the .tflite file; the same graph gives the same bytes."""
        used = {self.input, self.output}
        used.update(index for operation in self.operations for index in (*operation.inputs, operation.output))
        used.discard(ABSENT)
        position = {ABSENT: ABSENT} | {old: new for new, old in enumerate(sorted(used))}
        codes = sorted({(operation.kind, operation.version) for operation in self.operations})
        model: Any = schema.ModelT()
        model.version = _SCHEMA_VERSION
        model.buffers = [schema.BufferT()]
        model.operatorCodes = [_operator_code(kind, version) for kind, version in codes]
        subgraph: Any = schema.SubGraphT()
        subgraph.tensors = [_write_tensor(self.tensors[index], model.buffers) for index in sorted(used)]
        subgraph.inputs, subgraph.outputs = [position[self.input]], [position[self.output]]
        subgraph.operators = []
        for operation in self.operations:
            operator: Any = schema.OperatorT()
            operator.opcodeIndex = codes.index((operation.kind, operation.version))
            operator.inputs = [position[index] for index in operation.inputs]
            operator.outputs = [position[operation.output]]
            if operation.options is not None:
                operator.builtinOptions = operation.options
                name = type(operation.options).__name__.removesuffix("T")
                operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            subgraph.operators.append(operator)
        model.subgraphs = [subgraph]
        model.signatureDefs = [_signature(self.signature, subgraph.inputs[0], subgraph.outputs[0])]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def consumers(self, tensor: int) -> list[Operation]:
        """Return the operations that take a tensor."""
        return [operation for operation in self.operations if tensor in operation.inputs]

    def producer(self, tensor: int) -> Operation | None:
        """Return the operation that gives a tensor; None for the input and for constants."""
        return next((operation for operation in self.operations if operation.output == tensor), None)

    def add(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32, constant: Any = None) -> int:
        """Add a tensor and return its index."""
        self.tensors.append(Tensor(name, tuple(shape), np.dtype(dtype), constant))
        return len(self.tensors) - 1

    def copy_of(self, tensor: int) -> int:
        """Add a copy of a tensor and return its index."""
        self.tensors.append(replace(self.tensors[tensor]))
        return len(self.tensors) - 1


def _read_tensor(tensor: Any, buffers: list[Any]) -> Tensor:
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    data = buffers[tensor.buffer].data
    if tensor.type not in _DTYPES:
        raise ModelError(f"{tensor.name.decode()} is of a type that facetell cannot turn to 8 bits")
    dtype = _DTYPES[tensor.type]
    constant = None if data is None else np.frombuffer(bytes(data), dtype).reshape(shape).copy()
    return Tensor(tensor.name.decode(), shape, dtype, constant)


def _write_tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    written: Any = schema.TensorT()
    written.name = tensor.name
    written.shape = list(tensor.shape)
    written.hasRank = True
    written.type = next(value for value, dtype in _DTYPES.items() if dtype == tensor.dtype)
    if tensor.constant is not None:
        buffer: Any = schema.BufferT()
        buffer.data = np.frombuffer(tensor.constant.astype(tensor.dtype).tobytes(), np.uint8)
        written.buffer = len(buffers)
        buffers.append(buffer)
    if tensor.quantization is not None and tensor.dtype != np.float32:
        parameters: Any = schema.QuantizationParametersT()
        parameters.scale = tensor.quantization.scale.astype(np.float32)
        parameters.zeroPoint = tensor.quantization.zero_point.astype(np.int64)
        parameters.quantizedDimension = tensor.quantization.axis
        written.quantization = parameters
    return written


def _operator_code(kind: str, version: int) -> Any:
    code: Any = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)  # where readers of old look
    code.version = version
    return code


def _signature(names: tuple[str, str], taken: int, given: int) -> Any:
    signature: Any = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs, signature.outputs = [], []
    for name, index, maps in zip(names, (taken, given), (signature.inputs, signature.outputs), strict=True):
        entry: Any = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        maps.append(entry)
    return signature
