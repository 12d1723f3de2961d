"""int8: which weights are stored in 8 bits, what that does to scores, and the networks it can be done to."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

import keras
import tensorflow as tf
from ai_edge_litert.schema_py_generated import BuiltinOperator
from ai_edge_litert.tools.flatbuffer_utils import read_model_from_bytearray

from facetell.convert.metadata import with_metadata
from facetell.convert.quantize import quantize
from facetell.convert.tflite import convert
from facetell.edge.bundle import Bundle
from facetell.edge.errors import ModelError
from facetell.edge.runtime import TFLiteModel, installed_runtimes
from facetell.pipeline.backbones import any_kind

SIZE_PX = 96
APPLICATIONS: dict[str, tuple[Callable[..., keras.Model], keras.layers.Layer]] = {
    "mobilenet": (keras.applications.MobileNet, keras.layers.Rescaling(1 / 127.5, -1)),
    "mobilenet_v2": (keras.applications.MobileNetV2, keras.layers.Rescaling(1 / 127.5, -1)),
    "mobilenet_v3_small": (keras.applications.MobileNetV3Small, keras.layers.Identity()),
    "efficientnet_b0": (keras.applications.EfficientNetB0, keras.layers.Identity()),
}
NETWORKS = [*APPLICATIONS, "cnn"]


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth coloured noise, so that what comes out differs by picture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [np.kron(image, np.ones((SIZE_PX // 6, SIZE_PX // 6, 1), np.uint8)) for image in coarse]


def network(name: str) -> keras.Model:
    """Return an untrained network whose batch norms know the pictures, so that its scores spread."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    if name == "cnn":
        layers = [keras.layers.Rescaling(1 / 255)]
        for filters in (16, 32, 64, 64):
            layers += [keras.layers.Conv2D(filters, 3, activation="relu", padding="same"), keras.layers.MaxPooling2D()]
        layers += [keras.layers.Conv2D(64, 3, activation="relu", padding="same"), keras.layers.Flatten()]
        features = keras.Sequential([*layers, keras.layers.Dense(32, activation="relu")])(image)
    else:
        build, rescale = APPLICATIONS[name]
        backbone = build(input_shape=(SIZE_PX, SIZE_PX, 3), include_top=False, weights=None, pooling="avg")
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        features = backbone(rescale(image))
    model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(features))
    images = np.stack(pictures(32)).astype(np.float32)
    model(images, training=True)
    head = model.layers[-1]
    logits = keras.Model(image, features)(images, training=False).numpy() @ head.get_weights()[0]
    head.set_weights([head.get_weights()[0] * 2 / logits.std(), np.array([-2 * logits.mean() / logits.std()])])
    return model


@pytest.fixture(scope="session", params=NETWORKS)
def float32(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return convert(network(request.param), ["float32"])["float32"]


def scores(content: bytes, images: list[np.ndarray], runtime: str = "auto") -> np.ndarray:
    model = TFLiteModel(content, runtime)
    return np.array([model.run(image[np.newaxis])[0][0, 1] for image in images])


def test_int8_says_what_float32_says_on_every_runtime(float32: bytes) -> None:
    content, images = with_metadata(quantize(float32), "any", "any"), pictures(8, seed=1)
    wanted = scores(float32, images)
    assert np.ptp(wanted) > 0.05
    assert len(content) < 0.35 * len(float32)
    first, *others = [scores(content, images, runtime) for runtime in installed_runtimes()]
    assert np.corrcoef(first, wanted)[0, 1] > 0.8  # an untrained network amplifies every rounding
    for other in others:
        assert other == pytest.approx(first, abs=1e-4)


def test_the_same_file_gives_the_same_bytes(float32: bytes) -> None:
    assert quantize(float32) == quantize(float32)


def test_nothing_is_printed(float32: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    quantize(float32)
    assert capfd.readouterr() == ("", "")


def test_large_weights_have_8_bits_and_small_ones_16() -> None:
    from ai_edge_litert.interpreter import Interpreter

    content = quantize(convert(network("mobilenet_v3_small"), ["float32"])["float32"])
    weights = [known for known in Interpreter(model_content=content).get_tensor_details() if len(known["shape"]) == 4]
    elements = {
        dtype: {int(np.prod(known["shape"])) for known in weights if known["dtype"] == dtype}
        for dtype in (np.int8, np.float16)
    }
    assert max(elements[np.float16]) <= 8192 < min(elements[np.int8])
    assert len(elements[np.int8]) > 3
    assert len(elements[np.float16]) > 3


def test_runtimes_are_told_which_operations_they_need(float32: bytes) -> None:
    codes = read_model_from_bytearray(quantize(float32)).operatorCodes
    assert all(code.deprecatedBuiltinCode == min(code.builtinCode, 127) for code in codes)
    (dequantize,) = [code for code in codes if code.builtinCode == BuiltinOperator.DEQUANTIZE]
    assert dequantize.version == 5  # the first with a scale for each channel


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning")
def test_a_model_with_8_bit_outputs_is_refused() -> None:
    image = keras.Input((SIZE_PX, SIZE_PX, 3), batch_size=1)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Conv2D(4, 9, 9)(image))))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([known[np.newaxis].astype(np.float32)] for known in pictures(4))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_output_type = tf.uint8
    with pytest.raises(ModelError, match="the model gives uint8; wanted outputs of float32"):
        TFLiteModel(converter.convert())


@pytest.fixture(scope="session")
def three_scores() -> bytes:
    """A network whose head has three scores that all count, as training with three kinds of fakes has."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    features = keras.layers.Conv2D(8, 16, strides=16, activation="relu")(keras.layers.Rescaling(1 / 16, -8)(image))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(400, 3, activation="relu")(features))
    head = keras.layers.Dense(3)
    of_any = any_kind(head(features))
    return convert(keras.Model(image, keras.layers.Activation("sigmoid")(of_any)), ["float32"])["float32"]


def delegates(content: bytes) -> int:
    """Return into how many pieces XNNPACK takes a model."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return [step["op_name"] for step in interpreter._get_ops_details()].count("DELEGATE")


def test_the_shipped_files_run_as_one_delegate(bundle: Bundle) -> None:
    for precision, classifier in bundle.classifiers.items():
        assert delegates(classifier.content) == 1, precision


def test_several_scores_count_in_8_bits_too(three_scores: bytes) -> None:
    content, images = quantize(three_scores), pictures(8, seed=1)
    for runtime in installed_runtimes():
        assert scores(content, images, runtime) == pytest.approx(scores(three_scores, images, runtime), abs=0.01)


def test_several_scores_run_as_one_delegate(three_scores: bytes) -> None:
    assert delegates(three_scores) == delegates(quantize(three_scores)) == 1


def layered(layers: Callable[[], list[keras.layers.Layer]]) -> bytes:
    """Return a network of these layers on maps of 6 x 6, with a head."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    # tflite-runtime 2.14 and TensorFlow 2.17 compute nothing but zeros where a stride is longer than its kernel
    features = keras.layers.Conv2D(8, 16, strides=16, activation="relu")(keras.layers.Rescaling(1 / 16, -8)(image))
    for layer in layers():
        features = layer(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    return convert(keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(features)), ["float32"])["float32"]


def dead(activation: str | None) -> keras.layers.Layer:
    return keras.layers.Conv2D(8, 3, activation=activation, kernel_initializer="zeros", bias_initializer="zeros")


CONV = {"padding": "same", "bias_initializer": keras.initializers.Constant(1.0)}
ODD_LAYERS: dict[str, Callable[[], list[keras.layers.Layer]]] = {
    "groups": lambda: [keras.layers.Conv2D(8, 3, groups=4, **CONV), keras.layers.Conv2D(8, 3, **CONV)],
    "dilated": lambda: [keras.layers.Conv2D(8, 3, dilation_rate=2, **CONV), keras.layers.Conv2D(8, 3, **CONV)],
    "dead, linear": lambda: [dead(None), keras.layers.Conv2D(8, 3, **CONV)],
    "dead, relu": lambda: [dead("relu"), keras.layers.Conv2D(8, 3, **CONV)],
    "dead, relu6": lambda: [dead("relu6"), keras.layers.Conv2D(8, 3, **CONV)],
}


@pytest.mark.parametrize("name", ODD_LAYERS)
def test_odd_layers_are_quantised_like_any(name: str) -> None:
    content, images = layered(ODD_LAYERS[name]), pictures(8, seed=1)
    wanted = scores(content, images)
    assert name.startswith("dead") or np.ptp(wanted) > 0.05
    for runtime in installed_runtimes():
        assert scores(quantize(content), images, runtime) == pytest.approx(wanted, abs=0.01), runtime


def test_a_network_that_cannot_be_stored_in_8_bits_is_told() -> None:
    content = layered(lambda: [keras.layers.Reshape((6, 48)), keras.layers.LSTM(8), keras.layers.Reshape((1, 1, 8))])
    with pytest.raises(ModelError, match="cannot be stored in 8 bits"):
        quantize(content)
