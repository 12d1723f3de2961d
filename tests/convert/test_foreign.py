import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from keras import layers

from facetell.convert.foreign import RANGES, load_foreign
from facetell.edge.errors import ModelError

SIZE_PX = 32
PICTURES = np.random.default_rng(0).uniform(0, 255, (4, SIZE_PX, SIZE_PX, 3)).astype(np.float32)
PICTURES *= np.array([0.1, 0.4, 0.7, 1.0], np.float32).reshape(4, 1, 1, 1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    keras.utils.set_random_seed(0)


def sequential(*inner: Any, size: tuple[int | None, ...] = (SIZE_PX, SIZE_PX, 3)) -> Any:
    return keras.Sequential([keras.Input(size), *inner])


def head(units: int = 1, activation: str | None = "sigmoid") -> list[Any]:
    return [layers.GlobalAveragePooling2D(), layers.Dense(units, activation=activation)]


def cnn() -> Any:
    convolutions = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(4, 3)]
    return sequential(layers.Rescaling(1 / 255), *convolutions, layers.Flatten(), layers.Dense(1, activation="sigmoid"))


def warmed(model: Any) -> Any:
    """Return a model whose batch norms know the pictures, so that what comes out differs by picture."""

    def prepare(outer: Any) -> None:
        for layer in outer.layers:
            if isinstance(layer, keras.Model):
                prepare(layer)
            elif isinstance(layer, layers.BatchNormalization):
                layer.momentum = 0.0
            elif isinstance(layer, layers.Dropout):
                layer.rate = 0.0

    prepare(model)
    model(PICTURES, training=True)
    return model


def saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def load(path: Path, pixel_range: str = "0..255", positive: str = "fake", trust: bool = True) -> Any:
    return load_foreign(path, pixel_range=pixel_range, positive=positive, trust=trust)


def assert_same(loaded: Any, model: Any) -> None:
    wanted = model(PICTURES, training=False).numpy()
    assert np.ptp(wanted) > 5e-4
    assert loaded(PICTURES).numpy() == pytest.approx(wanted, abs=2e-5)


def mobilenet(**options: Any) -> Any:
    return keras.applications.MobileNet(alpha=0.25, **options)


def mobilenet_v2(**options: Any) -> Any:
    return keras.applications.MobileNetV2(alpha=0.35, **options)


BACKBONES = [mobilenet, mobilenet_v2, keras.applications.MobileNetV3Small, keras.applications.EfficientNetB0]


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("build", BACKBONES, ids=lambda build: build.__name__)
def test_a_head_on_a_backbone_is_read_back(tmp_path: Path, build: Callable[..., Any], ending: str) -> None:
    backbone = build(input_shape=(SIZE_PX, SIZE_PX, 3), include_top=False, weights=None)
    for layer in backbone.layers[: len(backbone.layers) // 2]:
        layer.trainable = False  # which changes the order of the weights in an .h5 file
    top = [layers.GlobalAveragePooling2D(), layers.Dense(8, activation="relu"), layers.BatchNormalization()]
    model = warmed(sequential(backbone, *top, layers.Dropout(0.3), layers.Dense(1, activation="sigmoid")))
    assert_same(load(saved(model, tmp_path / f"model.{ending}")), model)


def test_what_comes_out_is_a_functional_model_from_pictures_to_p_fake(tmp_path: Path) -> None:
    model = load(saved(cnn(), tmp_path / "model.keras"))
    assert [(tensor.shape, tensor.dtype) for tensor in model.inputs] == [((None, SIZE_PX, SIZE_PX, 3), "float32")]
    assert [(tensor.shape, tensor.dtype) for tensor in model.outputs] == [((None, 1), "float32")]


@pytest.mark.parametrize(
    ("pixel_range", "wanted"),
    [("0..255", lambda value: value), ("0..1", lambda value: value / 255), ("-1..1", lambda value: value / 127.5 - 1)],
)
@pytest.mark.parametrize("value", [0, 51, 255])
def test_a_model_gets_pixels_in_the_range_it_wants(
    tmp_path: Path, pixel_range: str, wanted: Callable[[float], float], value: int
) -> None:
    model = sequential(*head())
    model.layers[-1].set_weights([np.full((3, 1), 0.01), np.zeros(1)])
    p_fake = load(saved(model, tmp_path / "model.keras"), pixel_range)(np.full((1, SIZE_PX, SIZE_PX, 3), value))
    assert float(p_fake[0, 0]) == pytest.approx(1 / (1 + np.exp(-0.03 * wanted(value))), abs=1e-6)


def test_the_ranges_are_those() -> None:
    assert set(RANGES) == {"0..255", "0..1", "-1..1"}


HEADS = {
    "sigmoid": lambda: head(1, "sigmoid"),
    "softmax": lambda: head(2, "softmax"),
    "sigmoid layer": lambda: [*head(1, None), layers.Activation("sigmoid")],
    "softmax activation": lambda: [*head(2, None), layers.Activation("softmax")],
    "softmax layer": lambda: [*head(2, None), layers.Softmax()],
    "sigmoid in a model": lambda: [layers.GlobalAveragePooling2D(), keras.Sequential([layers.Dense(1, "sigmoid")])],
}


@pytest.mark.parametrize(("positive", "sign"), [("fake", 1), ("real", -1)])
@pytest.mark.parametrize("ending", HEADS)
def test_positive_says_which_class_is_1(tmp_path: Path, ending: str, positive: str, sign: int) -> None:
    model = sequential(layers.Rescaling(1 / 255), *HEADS[ending]())
    of_class_1 = model(PICTURES).numpy()[:, -1:]
    wanted = of_class_1 if sign == 1 else 1 - of_class_1
    loaded = load(saved(model, tmp_path / "model.keras"), positive=positive)
    assert loaded(PICTURES).numpy() == pytest.approx(wanted, abs=1e-6)
    assert np.ptp(wanted) > 1e-3


def test_augmentation_within_a_model_is_off(tmp_path: Path) -> None:
    model = sequential(layers.RandomContrast(0.9), layers.RandomBrightness(0.9), *cnn().layers)
    assert_same(load(saved(model, tmp_path / "model.keras")), model)


def test_a_model_that_was_built_on_a_batch_takes_any_batch(tmp_path: Path) -> None:
    model = keras.Sequential(cnn().layers)
    model(PICTURES[:3])
    assert_same(load(saved(model, tmp_path / "model.keras")), model)


@pytest.mark.parametrize("inputs", ["list", "dict"])
def test_one_input_may_come_in_a_list_or_dict(tmp_path: Path, inputs: str) -> None:
    model = cnn()
    image = keras.Input((SIZE_PX, SIZE_PX, 3), name="image")
    wrapped = keras.Model([image] if inputs == "list" else {"image": image}, model(image))
    assert_same(load(saved(wrapped, tmp_path / "model.keras")), model)


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_model_of_mixed_precision_computes_in_float32(tmp_path: Path, ending: str) -> None:
    model = cnn()
    mixed = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(layer.get_config() | {"dtype": "mixed_float16"})
    )
    mixed.set_weights(model.get_weights())
    loaded = load(saved(mixed, tmp_path / f"model.{ending}"))
    assert loaded(PICTURES).dtype == "float32"
    assert loaded(PICTURES).numpy() == pytest.approx(model(PICTURES).numpy(), abs=1e-6)


NUMBERS = {
    "add": lambda x: x + 30.0,
    "subtract": lambda x: x - 30.0,
    "multiply": lambda x: x * 0.3,
    "divide": lambda x: x / 127.5,
    "preprocess_input": keras.applications.mobilenet_v2.preprocess_input,
}


@pytest.mark.parametrize("operation", NUMBERS)
def test_arithmetic_in_an_h5_file_is_read_back(tmp_path: Path, operation: str) -> None:
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    model = keras.Model(image, sequential(layers.Rescaling(0.01), *head())(NUMBERS[operation](image)))
    assert_same(load(saved(model, tmp_path / "model.h5")), model)


def test_a_normalization_within_a_backbone_in_an_h5_file_keeps_its_mean(tmp_path: Path) -> None:
    normalization = layers.Normalization()
    normalization.adapt(PICTURES)
    model = sequential(sequential(normalization), *head())
    assert_same(load(saved(model, tmp_path / "model.h5")), model)


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


def two_inputs() -> Any:
    one, two = keras.Input((SIZE_PX, SIZE_PX, 3)), keras.Input((SIZE_PX, SIZE_PX, 3))
    return keras.Model([one, two], sequential(*head())(one + two))


def two_outputs() -> Any:
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    return keras.Model(image, [sequential(*head())(image), sequential(*head())(image)])


def flipped() -> Any:
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    return keras.Model(image, 2 * sequential(*head())(image) - 1)


def built_layer() -> Any:
    layer = layers.Dense(1, activation="sigmoid")
    layer.build((None, 3))
    return layer


REFUSED = {
    "grey pictures": (lambda: sequential(*head(), size=(SIZE_PX, SIZE_PX, 1)), r"takes \[\(None, 32, 32, 1\)\]"),
    "pictures that are not square": (lambda: sequential(*head(), size=(32, 48, 3)), r"takes \[\(None, 32, 48, 3\)\]"),
    "pictures of any size": (lambda: sequential(*head(), size=(None, None, 3)), r"\(None, None, None, 3\).*fixed size"),
    "features": (lambda: sequential(layers.Dense(1, "sigmoid"), size=(64,)), r"takes \[\(None, 64\)\]"),
    "two pictures": (two_inputs, r"takes \[.*, .*\]; wanted one input"),
    "no model": (built_layer, "takes an input of unknown size"),
    "two outputs": (two_outputs, r"gives \[\(None, 1\), \(None, 1\)\]; wanted one output"),
    "five classes": (lambda: sequential(*head(5, "softmax")), r"gives \[\(None, 5\)\]"),
    "a map": (lambda: sequential(layers.Conv2D(1, 3, activation="sigmoid")), r"gives \[\(None, 30, 30, 1\)\]"),
    "one logit": (lambda: sequential(*head(1, None)), r"linear activation; wanted a sigmoid.*Activation\('sigmoid'\)"),
    "two logits": (lambda: sequential(*head(2, None)), r"linear activation; wanted a softmax.*Activation\('softmax'\)"),
    "a softmax of one": (lambda: sequential(*head(1, "softmax")), "softmax activation; wanted a sigmoid"),
    "two sigmoids": (lambda: sequential(*head(2, "sigmoid")), "sigmoid activation; wanted a softmax"),
    "a layer without activation": (lambda: sequential(*head(), layers.Dropout(0.5)), "no activation; wanted a sigmoid"),
    "arithmetic on a sigmoid": (flipped, "ends in 'subtract.*no activation"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_classifier_of_pictures_is_refused(tmp_path: Path, what: str) -> None:
    build, reason = REFUSED[what]
    keras.saving.save_model(build(), tmp_path / "model.keras")
    with pytest.raises(ModelError, match=reason):
        load(tmp_path / "model.keras")


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_model_that_never_saw_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"unknown size.*keras\.Input"):
        load(saved(keras.Sequential(head()), tmp_path / "model.keras"))


def test_logits_are_taken_after_the_advice_of_the_error(tmp_path: Path) -> None:
    logits = sequential(layers.Rescaling(1 / 255), *head(1, None))
    model = keras.Sequential([logits, keras.layers.Activation("sigmoid")])
    model.build((None, SIZE_PX, SIZE_PX, 3))
    assert_same(load(saved(model, tmp_path / "model.keras")), model)


def with_code(mark: Path) -> Any:
    """Return a model with a function that makes the file mark whenever it runs."""
    name = str(mark)
    touch = layers.Lambda(lambda x: [x, open(name, "w").close()][0])  # noqa: PTH123 - a lambda is saved without imports
    return sequential(touch, *head())


@pytest.mark.parametrize(
    ("ending", "renamed", "trust", "reason"),
    [
        ("keras", "keras", False, "Lambda"),
        ("keras", "keras", True, "Lambda"),
        ("keras", "h5", True, r"starts with b'PK.*no \.h5"),
        ("h5", "h5", False, "--trust"),
        ("h5", "keras", False, r"starts with b'.x89HDF.*no \.keras"),
        ("h5", "keras", True, r"starts with b'.x89HDF.*no \.keras"),
    ],
)
def test_code_in_a_file_does_not_run(tmp_path: Path, ending: str, renamed: str, trust: bool, reason: str) -> None:
    saved(with_code(tmp_path / "ran"), tmp_path / f"saved.{ending}")
    (tmp_path / f"saved.{ending}").rename(tmp_path / f"model.{renamed}")
    (tmp_path / "ran").unlink()
    with pytest.raises(ModelError, match=reason):
        load(tmp_path / f"model.{renamed}", trust=trust)
    assert not (tmp_path / "ran").exists()


def test_code_in_an_h5_file_runs_where_it_is_trusted(tmp_path: Path) -> None:
    path = saved(with_code(tmp_path / "ran"), tmp_path / "model.h5")
    (tmp_path / "ran").unlink()
    load(path)
    assert (tmp_path / "ran").exists()


def test_a_zip_behind_an_h5_file_is_not_loaded_by_it(tmp_path: Path) -> None:
    """Keras takes what ends in .keras and has a zip anywhere in it for a zip."""
    h5, zipped = (saved(cnn(), tmp_path / f"model.{ending}").read_bytes() for ending in ("h5", "keras"))
    (tmp_path / "both.keras").write_bytes(h5 + zipped)
    with pytest.raises(ModelError, match="starts with"):
        load(tmp_path / "both.keras")


@pytest.mark.parametrize("name", ["model.pt", "model.tflite", "model.hdf5", "model.KERAS", "model"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    shutil.copy(saved(cnn(), tmp_path / "saved.keras"), tmp_path / name)
    with pytest.raises(ModelError, match=r"no \.keras or \.h5 file"):
        load(tmp_path / name)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    path = saved(cnn(), tmp_path / f"model.{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match="cannot be loaded as a Keras model"):
        load(path)


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_layer_of_ones_own_is_named(tmp_path: Path, ending: str) -> None:
    class Sharpen(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    path = saved(sequential(Sharpen(), *head()), tmp_path / f"model.{ending}")
    with pytest.raises(ModelError, match=r"Sharpen.*wanted one of Keras' own layers") as caught:
        load(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["model.weights.h5", "old.h5"])
def test_weights_without_a_model_are_refused(tmp_path: Path, name: str) -> None:
    model = cnn()
    if name == "old.h5":
        saved(model, tmp_path / name)
        with h5py.File(tmp_path / name, "r+") as file:
            del file.attrs["model_config"]
    else:
        model.save_weights(tmp_path / name)
    with pytest.raises(ModelError, match=r"holds weights alone; save the whole model with model\.save"):
        load(tmp_path / name)


@pytest.mark.parametrize("standing", ["nothing", "a folder"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, standing: str) -> None:
    path = tmp_path / "model.keras"
    if standing == "a folder":
        path.mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        load(path)
