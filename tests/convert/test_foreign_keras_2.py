"""An .h5 file as Keras 2 writes it is read, though Keras 3 writes and names things otherwise."""

import json
from pathlib import Path
from typing import Any

import h5py
import pytest

pytest.importorskip("tensorflow")

from keras import layers

from .keras_models import SIZE_PX, assert_same, head, load, saved, sequential, warmed

pytestmark = pytest.mark.usefixtures("seeded")


def of_keras_2(path: Path, kind: str = "Functional") -> tuple[Path, Any]:
    """Write a backbone and a head to an .h5 file as Keras 2.10 does, and return it with the same model of Keras 3."""
    shape = (SIZE_PX, SIZE_PX, 3)
    depthwise = [layers.DepthwiseConv2D(3, name="dw"), layers.BatchNormalization(name="bn")]
    backbone = sequential(layers.Conv2D(4, 3, name="conv"), *depthwise, layers.SeparableConv2D(4, 3, name="sep"))
    model = warmed(sequential(layers.Rescaling(1 / 127.5, -1), backbone, *head()))
    saved(model, path)

    def layer(class_name: str, name: str, source: str | list[Any], **config: Any) -> dict[str, Any]:
        calls = [[[source, 0, 0, {}]]] if isinstance(source, str) else source
        config = {"name": name, "trainable": True, "dtype": "float32"} | config
        return {"class_name": class_name, "config": config, "name": name, "inbound_nodes": calls}

    def functional(name: str, inner: list[Any], output: list[Any], source: list[Any]) -> dict[str, Any]:
        entry = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *shape], "name": f"{name}/in"}}
        ends = {"input_layers": [[f"{name}/in", 0, 0]], "output_layers": [output]}
        config = {"name": name, "layers": [entry | {"name": f"{name}/in", "inbound_nodes": []}, *inner], **ends}
        return {"class_name": "Functional", "config": config, "name": name, "inbound_nodes": source}

    kernel: dict[str, Any] = {"kernel_size": [3, 3], "groups": 1}
    initial: dict[str, Any] = {"kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}}
    other: dict[str, Any] = {"kernel_regularizer": None, "kernel_constraint": None}
    inner = [
        layer("Conv2D", "base/conv", "base/in", filters=4, **kernel, **initial, **other),
        layer("DepthwiseConv2D", "base/dw", "base/conv", **kernel),
        layer("BatchNormalization", "base/bn", "base/dw", axis=[3]),
        layer("SeparableConv2D", "base/sep", "base/bn", filters=4, **kernel, **initial, **other),
    ]
    by, less = {"y": 127.5, "name": None}, {"y": [[[[1.0, 1.0, 1.0]]]], "name": None}
    preprocessing = [
        layer("TFOpLambda", "tf.math.truediv", [["whole/in", 0, 0, by]], function="math.truediv"),
        layer("TFOpLambda", "tf.math.subtract", [["tf.math.truediv", 0, 0, less]], function="math.subtract"),
    ]
    rest = [
        functional("base", inner, ["base/sep", 0, 0], [[["tf.math.subtract", 0, 0, {}]]]),
        layer("GlobalAveragePooling2D", "pool", [[["base", 1, 0, {}]]]),
        layer("Dense", "p", "pool", units=1, activation="sigmoid"),
    ]
    if kind == "Functional":
        whole = functional("whole", [*preprocessing, *rest], ["p", 0, 0], [])
    else:
        first = layer("Rescaling", "first", [], scale=1 / 127.5, offset=-1.0, batch_input_shape=[None, *shape])
        in_a_row = [{"class_name": each["class_name"], "config": each["config"]} for each in (first, *rest)]
        whole = {"class_name": "Sequential", "config": {"name": "whole", "layers": in_a_row}}
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(whole)
    return path, model


@pytest.mark.parametrize("kind", ["Functional", "Sequential"])
def test_an_h5_file_of_keras_2_is_read(tmp_path: Path, kind: str) -> None:
    path, model = of_keras_2(tmp_path / "model.h5", kind)
    assert_same(load(path), model)


def test_a_keras_2_model_as_saved_by_its_last_version_names_modules(tmp_path: Path) -> None:
    path, model = of_keras_2(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            layer |= {"module": f"keras.src.{layer['class_name']}", "registered_name": layer["class_name"]}
        file.attrs["model_config"] = json.dumps(config)
    assert_same(load(path), model)
