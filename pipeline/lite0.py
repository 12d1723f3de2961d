"""EfficientNet-Lite0, which Keras lacks: no swish and no squeeze-and-excite, so that it keeps its sharpness as int8."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import numpy as np

_BLOCKS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
_BLOCKS += ((1, 3, 1, 6, 320),)
"""Repeats, kernel, first stride, expansion and filters of each stage (tensorflow/tpu, efficientnet/lite)."""

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""Begins a file that PyTorch wrote before 1.6."""

_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


def efficientnet_lite0(
    input_shape: tuple[int | None, ...], include_top: bool, weights: None, pooling: str, name: str
) -> keras.Model:
    """Return the network without its top: RGB, (x - 127) / 128, to 1,280 features.

    Its layers are called as in the published PyTorch file, less the underscores.
    """
    image = keras.Input(input_shape)
    x: Any = keras.layers.Conv2D(32, 3, 2, "same", use_bias=False, name="conv_stem")(image)
    x = _normed(x, "bn0")
    block = 0
    for repeats, kernel, stride, expansion, filters in _BLOCKS:
        for repeat in range(repeats):
            x = _block(x, f"blocks.{block}.", kernel, 1 if repeat else stride, expansion, filters)
            block += 1
    x = _normed(keras.layers.Conv2D(1280, 1, use_bias=False, name="conv_head")(x), "bn1")
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name=name)


def _block(x: Any, prefix: str, kernel: int, stride: int, expansion: int, filters: int) -> Any:
    start = x
    if expansion > 1:
        wide = keras.layers.Conv2D(x.shape[-1] * expansion, 1, use_bias=False, name=f"{prefix}expand_conv")
        x = _normed(wide(x), f"{prefix}bn0")
    depthwise = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{prefix}depthwise_conv")
    x = _normed(depthwise(x), f"{prefix}bn1")
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{prefix}project_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{prefix}bn2")(x)
    return keras.layers.Add()([x, start]) if stride == 1 and start.shape[-1] == filters else x


def _normed(x: Any, name: str) -> Any:
    return keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(name=name)(x))


def load_pytorch(network: keras.Model, path: Path) -> None:
    """Fill efficientnet_lite0 with the weights of efficientnet-lite0-57934424.pth, or another file of its kind.

    Raises ValueError when the file is of another kind or another network, OSError when it cannot be read.
    """
    tensors = read_pytorch(path)
    for layer in network.layers:
        if not layer.weights:
            continue
        name = re.sub(r"(^|\.)(?=[a-z])", r"\1_", layer.name)
        parts = ("weight", "bias", "running_mean", "running_var") if "_bn" in name else ("weight",)
        if missing := [part for part in parts if f"{name}.{part}" not in tensors]:
            raise ValueError(f"it has no {name}.{missing[0]}")
        values = [tensors[f"{name}.{part}"] for part in parts]
        if "conv" in layer.name:  # output and input channels come last in Keras; a depthwise kernel has them swapped
            order = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
            values = [values[0].transpose(order)]
        layer.set_weights(values)


def read_pytorch(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file of weights that PyTorch wrote before 1.6, without running what it may hide.

    Raises ValueError when it is anything else, OSError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            magic_number, _, _ = (_Reader(file).load() for _ in range(3))
            if magic_number != _MAGIC_NUMBER:
                raise ValueError("it does not begin as such a file")
            reader = _Reader(file)
            tensors, keys = reader.load(), _Reader(file).load()
            if not isinstance(tensors, dict):
                raise ValueError("there are no weights in it")
            for key in keys:
                storage = reader.storages[key]
                file.read(8)  # its length once more
                if file.readinto(storage) != storage.nbytes:
                    raise ValueError("it ends too early")
    except (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, LookupError, TypeError) as error:
        raise ValueError(f"it is not a file of weights that PyTorch wrote before 1.6 ({error})") from error
    return {str(name): np.array(tensor) for name, tensor in tensors.items()}


class _Reader(pickle.Unpickler):
    """Unpickles dictionaries of tensors; everything else is refused before it runs."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name in the file; raises UnpicklingError when it is none of a tensor's."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return np.dtype(_STORAGES[name])
        raise pickle.UnpicklingError(f"it names {module}.{name}, which weights have no use for")

    def persistent_load(self, pid: Any) -> np.ndarray:
        """Return the storage that a tensor is a view of, to be filled later."""
        _, dtype, key, _, length, _ = pid
        if not 0 <= length <= 2**26:
            raise pickle.UnpicklingError("it is too large")
        return self.storages.setdefault(key, np.zeros(length, dtype))


def _tensor(storage: np.ndarray, offset: int, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """Return a view; PyTorch's strides count elements, and are not always those of the shape."""
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if offset < 0 or min((*shape, *strides, 1)) < 0 or last >= len(storage):
        raise pickle.UnpicklingError("a tensor reaches beyond its numbers")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
