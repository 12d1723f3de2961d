"""A Keras model of a stranger becomes one from pictures to p_fake, and says what it said before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from keras import layers

from facetell.convert.foreign import RANGES

from .keras_models import PICTURES, SIZE_PX, assert_same, cnn, head, load, saved, sequential, warmed

pytestmark = pytest.mark.usefixtures("seeded")


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


def test_logits_are_taken_after_the_advice_of_the_error(tmp_path: Path) -> None:
    logits = sequential(layers.Rescaling(1 / 255), *head(1, None))
    model = keras.Sequential([logits, keras.layers.Activation("sigmoid")])
    model.build((None, SIZE_PX, SIZE_PX, 3))
    assert_same(load(saved(model, tmp_path / "model.keras")), model)
