"""int8: large weights in 8 bits, small ones in 16; the arithmetic stays in float."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from ai_edge_litert.schema_py_generated import BuiltinOperator
from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray, read_model_from_bytearray
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.qtyping import (
    ComputePrecision,
    OpQuantizationConfig,
    QuantGranularity,
    TensorDataType,
    TensorQuantizationConfig,
    TFLOperationName,
)
from litert_quantizer.quantizer import Quantizer

from ..edge.errors import ModelError

_LARGE_WEIGHTS = 8193
"""In elements. With smaller ones also in 8 bits, 2.4 % of the shipped network's verdicts change instead of 0.5 %, for a
file that is a twentieth smaller."""

_LAST_DEPRECATED = 127  # what fits the field that old runtimes read
_DEQUANTIZE_BY_CHANNEL = 5  # the version of DEQUANTIZE that knows a scale for each channel

_8_BITS = OpQuantizationConfig(
    weight_tensor_config=TensorQuantizationConfig(num_bits=8, granularity=QuantGranularity.CHANNELWISE),
    compute_precision=ComputePrecision.FLOAT,
    explicit_dequantize=True,
    min_weight_elements=_LARGE_WEIGHTS,
)
_16_BITS = OpQuantizationConfig(
    weight_tensor_config=TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT),
    compute_precision=ComputePrecision.FLOAT,
    explicit_dequantize=True,
)


def quantize(float32: bytes) -> bytes:
    """Return a float32 .tflite file with smaller weights: it takes and gives what that does, and is as fast.

    Large weights are in 8 bits, with a scale for each output channel, small ones in float16. Activations stay in float,
    as 8 bits there cost the cues; docs/architecture.md has the measurements. Raises ModelError when the quantiser
    cannot do it.
    """
    in_8_bits = _with_weights(float32, _8_BITS, AlgorithmName.MIN_MAX_UNIFORM_QUANT)
    content = _with_weights(in_8_bits, _16_BITS, AlgorithmName.FLOAT_CASTING)
    # The quantiser puts weights behind the flatbuffer, where MediaPipe's metadata writer and old runtimes lose them.
    model: Any = read_model_from_bytearray(content)
    for code in model.operatorCodes:  # the quantiser leaves these at 0 and 1, as of an addition of the first version
        code.deprecatedBuiltinCode = min(code.builtinCode, _LAST_DEPRECATED)
        if code.builtinCode == BuiltinOperator.DEQUANTIZE:
            code.version = _DEQUANTIZE_BY_CHANNEL
    return bytes(convert_object_to_bytearray(model))


def _with_weights(model: bytes, config: OpQuantizationConfig, algorithm: AlgorithmName) -> bytes:
    """Return a model with those weights stored as configured that were not before."""
    quantizer = Quantizer(model)
    quantizer.update_quantization_recipe(".*", TFLOperationName.ALL_SUPPORTED, config, algorithm)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # it warns of the weights that are in 8 bits already
        try:
            content: Any = quantizer.quantize().quantized_model
            return bytes(content)
        except Exception as error:  # it raises ValueError, RuntimeError, KeyError, ...
            raise ModelError(f"the network cannot be stored in 8 bits: {error}") from error
