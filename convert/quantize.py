"""int8: the weights in 8 bits, those that the verdicts hang on in 16; the arithmetic stays in float."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout

from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray, read_model_from_bytearray
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.qtyping import TFLOperationName
from litert_quantizer.quantizer import Quantizer

from ..edge.errors import ModelError

_LARGE_MAP = 1 / 16
"""Of the picture's side. Later maps are smaller, and there most of the weights are."""


def quantize(float32: bytes) -> bytes:
    """Return a float32 .tflite file with smaller weights: it takes and gives what the float32 one does, and as fast.

    Weights are in 8 bits, with a scale for each output channel, but those of depthwise convolutions and of maps of a
    sixteenth of the side or more in float16: they are few, and rounding them to 8 bits moves most of the verdicts that
    move. Activations stay in float, as 8 bits there cost the cues; docs/architecture.md has the measurements.
    Raises ModelError when the quantiser cannot do it.
    """
    quantizer = Quantizer(float32)
    quantizer.add_weight_only_config(".*", TFLOperationName.ALL_SUPPORTED, num_bits=8)
    _keep_16_bits(quantizer, ".*", TFLOperationName.DEPTHWISE_CONV_2D)
    for name in _large_maps(float32):
        _keep_16_bits(quantizer, f"^{re.escape(name)};", TFLOperationName.CONV_2D)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it reports its progress
            content = quantizer.quantize().quantized_model
    except Exception as error:  # it raises ValueError, RuntimeError, KeyError, ...
        raise ModelError(f"the network cannot be stored in 8 bits: {error}") from error
    # The quantiser puts weights behind the flatbuffer, where MediaPipe's metadata writer and old runtimes lose them.
    return bytes(convert_object_to_bytearray(read_model_from_bytearray(content)))


def _keep_16_bits(quantizer: Quantizer, regex: str, operation: TFLOperationName) -> None:
    quantizer.add_weight_only_config(regex, operation, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)


def _large_maps(content: bytes) -> list[str]:
    interpreter = Interpreter(model_content=content)
    side_px = interpreter.get_input_details()[0]["shape"][1]
    tensors = interpreter.get_tensor_details()
    return [t["name"] for t in tensors if len(t["shape"]) == 4 and t["shape"][1] >= side_px * _LARGE_MAP]
