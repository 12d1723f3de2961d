"""Keras models that were trained elsewhere, read as one of ours."""

from __future__ import annotations

import json
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from ..edge.errors import ModelError
from ..edge.manifest import LABELS

RANGES = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
"""What a model wants of pixels -> scale and offset that make it from 0..255."""

_MAGIC = {".keras": b"PK\x03\x04", ".h5": b"\x89HDF\r\n\x1a\n"}
_ACTIVATIONS = {1: keras.activations.sigmoid, 2: keras.activations.softmax}
"""Number of outputs -> what makes probabilities of two classes from them."""

_SEPARABLE = {"DepthwiseConv2D", "SeparableConv2D"}
_KERAS_2_ONLY = {"groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"}
"""What Keras 2 says of _SEPARABLE to no purpose, and Keras 3 does not take."""

_ARITHMETIC: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    **dict.fromkeys(("Add", "__operators__.add", "math.add"), lambda y: (1.0, y)),
    **dict.fromkeys(("Subtract", "math.subtract"), lambda y: (1.0, -y)),
    **dict.fromkeys(("Multiply", "math.multiply"), lambda y: (y, 0.0)),
    **dict.fromkeys(("Divide", "TrueDivide", "math.divide", "math.truediv"), lambda y: (1 / y, 0.0)),
}
"""Operation with numbers y, by its names in Keras 3 and 2 -> scale and offset of the Rescaling that does the same."""


def load_foreign(path: Path, *, pixel_range: str, positive: str, trust: bool = False) -> keras.Model:
    """Return a hobby project's model as ours: (B, S, S, 3) float32 RGB 0..255 in, p_fake (B, 1) out.

    pixel_range is one of RANGES, positive the label of class 1, 'real' or 'fake'; trust lets code in an .h5 file run.
    Raises ModelError when the file cannot be loaded, or is no classifier of square RGB pictures into two classes.
    """
    _check_file(path, trust)
    model = _load(path)
    size_px = _size_px(path, model)
    _check_output(path, model)
    _settle(model)
    image = keras.Input((size_px, size_px, 3), name="image")
    pixels = keras.layers.Rescaling(*RANGES[pixel_range])(image)
    scores: Any = keras.Model(model.inputs[0], model.outputs[0], name="foreign")(pixels, training=False)
    if scores.shape[1] == 2:
        column = LABELS.index(positive)  # of the fakes
        p_fake = scores[:, column : column + 1]
    else:
        p_fake = scores if positive == "fake" else 1.0 - scores
    return keras.Model(image, p_fake, name="facetell")


def _check_file(path: Path, trust: bool) -> None:
    if path.suffix not in _MAGIC:
        raise ModelError(f"{path} is no .keras or .h5 file; save the whole model with model.save('model.keras')")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not start.startswith(_MAGIC[path.suffix]):
        raise ModelError(
            f"{path} starts with {start!r}, and no {path.suffix} file does; give it the ending it was saved with, or "
            "get it again"
        )
    if path.suffix == ".h5" and not trust:
        raise ModelError(
            f"{path} is an .h5 file, and those can hold code that runs on this computer when they are loaded; add "
            "--trust only if it comes from people you trust, or ask them for a .keras file"
        )


def _load(path: Path) -> Any:
    """Return what Keras makes of a file; that need not be a model."""
    try:
        if path.suffix == ".h5":
            return _load_h5(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except ModelError:
        raise
    except Exception as error:  # Keras raises ValueError, TypeError, zipfile's and h5py's errors, KeyError, ...
        reason = textwrap.shorten(str(error).split("Exception encountered: ")[-1], 160, placeholder=" ...")
        raise ModelError(
            f"{path} cannot be loaded as a Keras model ({reason}); wanted one of Keras' own layers without Lambda, "
            "saved by Keras 3, or by Keras 2 as .h5; build it of those and save it again"
        ) from error


def _load_h5(path: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder, h5py.File(path) as theirs, warnings.catch_warnings():
        if "model_config" not in theirs.attrs:
            raise ModelError(f"{path} holds weights alone; save the whole model with model.save('model.keras')")
        readable = Path(folder) / "model.h5"
        config: Any = theirs.attrs["model_config"]
        with h5py.File(readable, "w") as copy:
            copy.attrs["model_config"] = json.dumps(_for_keras_3(json.loads(config)))
            theirs.copy("model_weights", copy)
        warnings.simplefilter("ignore")  # of how the model should be built today
        return keras.saving.load_model(readable, compile=False, safe_mode=False)


def _settle(model: Any) -> None:
    """Make a model compute in float32, and its Normalization layers work with their weights.

    Keras forgets the latter where a model in an .h5 file holds a model.
    """
    for layer in model.layers:
        layer.dtype_policy = "float32"
        if isinstance(layer, keras.Model):
            _settle(layer)
        elif isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _for_keras_3(layer: dict[str, Any], models: Set[str] = frozenset()) -> dict[str, Any]:
    """Return what an .h5 file says of a layer, or of a model and its layers, such that Keras 3 can read it.

    models are the names of the models among the layers beside it.
    """
    class_name, config = layer["class_name"], layer["config"] | {"name": _name(layer["config"]["name"])}
    if "layers" in config:
        inner = {each["config"]["name"] for each in config["layers"] if "layers" in each["config"]}
        config["layers"] = [_for_keras_3(each, inner) for each in config["layers"]]
        for ends in {"input_layers", "output_layers"} & config.keys():
            references = _references(config[ends], inner)
            config[ends] = references[0] if len(references) == 1 else references
    elif class_name in _SEPARABLE:
        config = {key: value for key, value in config.items() if key not in _KERAS_2_ONLY}
    if class_name != "InputLayer" and "batch_input_shape" in config:
        config["input_shape"] = config.pop("batch_input_shape")[1:]
    calls = _references(layer.get("inbound_nodes", []), models)
    match calls:
        case [[source, _, _, {"y": y}]] if config.get("function") in _ARITHMETIC and _are_numbers(y):  # Keras 2
            operation, calls = config["function"], [[[source, 0, 0, {}]]]
        case [{"args": [source, y]}] if class_name in _ARITHMETIC and _are_numbers(y):  # Keras 3
            operation, calls = class_name, [{"args": [source], "kwargs": {}}]
        case _:
            return {"class_name": class_name, "config": config, "name": config["name"], "inbound_nodes": calls}
    scale, offset = (np.asarray(value).tolist() for value in _ARITHMETIC[operation](np.asarray(y)))
    config = {"name": config["name"], "scale": scale, "offset": offset}
    return {"class_name": "Rescaling", "config": config, "name": config["name"], "inbound_nodes": calls}


def _are_numbers(y: Any) -> bool:
    return np.asarray(y).dtype.kind in "if"


def _references(calls: Any, models: Set[str]) -> Any:
    """Return the [layer, number of its call, ...] in nested lists as Keras 3 has them.

    Keras 2 counts the making of a model as its first call.
    """
    match calls:
        case [str(layer), int(call), *rest]:
            return [_name(layer), max(0, call - (layer in models)), *rest]
        case [*several]:
            return [_references(each, models) for each in several]
        case _:
            return calls


def _name(of_layer: str) -> str:
    return of_layer.replace("/", "_")  # which Keras 2 lets stand in names


def _size_px(path: Path, model: Any) -> int:
    """Return the side of the pictures that a model takes."""
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", [])]
    match shapes:
        case [(_, int(height), int(width), 3)] if height == width:
            return width
    raise ModelError(
        f"{path} takes {shapes or 'an input of unknown size'}; wanted one input (None, S, S, 3), square RGB pictures "
        "of a fixed size; build it on keras.Input((S, S, 3)) and save it again, or train one that takes such pictures"
    )


def _check_output(path: Path, model: Any) -> None:
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    match shapes:
        case [(_, (1 | 2) as units)]:
            pass
        case _:
            raise ModelError(
                f"{path} gives {shapes}; wanted one output (None, 1) of a sigmoid or (None, 2) of a softmax; train one "
                "that tells real from fake and nothing else"
            )
    last = model
    while isinstance(last, keras.Model):
        last = getattr(last, "operations", last.layers)[-1]
    is_softmax = isinstance(last, keras.layers.Softmax)
    activation = keras.activations.softmax if is_softmax else getattr(last, "activation", None)
    wanted = _ACTIVATIONS[units]
    if activation is not wanted:
        got = getattr(activation, "__name__", "no")
        raise ModelError(
            f"{path} ends in {last.name!r}, {units} units with {got} activation; wanted a {wanted.__name__} there, as "
            "logits cannot be told from the figures of a regression; if they are logits, save "
            f"keras.Sequential([model, keras.layers.Activation({wanted.__name__!r})])"
        )
