"""int8: the graph that is read, changed and written, what 8 bits do to it, and the networks it can be done to."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

import keras

from facetell.convert.finetune import fine_tune
from facetell.convert.graph import Graph
from facetell.convert.quantize import (
    best_range,
    eight_bit_tensors,
    eight_bits,
    equalise,
    int8_file,
    prepare,
    set_ranges,
)
from facetell.convert.simulate import Simulation, observe
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


def simulated(graph: Graph, images: list[np.ndarray], *, rounded: bool) -> np.ndarray:
    _, logits = Simulation(graph).run(np.stack(images).astype(np.float32), rounded=rounded)
    return 1 / (1 + np.exp(-logits.numpy()[:, 0]))


def quantised(content: bytes, int8_below: float = 1 / 16) -> Graph:
    graph, images = prepare(content, int8_below), pictures(32)
    equalise(graph, observe(graph, images))
    set_ranges(graph, observe(graph, images))
    return graph


def test_a_graph_is_written_as_it_was_read(float32: bytes) -> None:
    images = pictures(4)
    written = Graph.read(float32).write()
    assert np.array_equal(scores(written, images), scores(float32, images))
    assert Graph.read(written).write() == written


def test_the_simulation_without_rounding_is_the_float_file(float32: bytes) -> None:
    images = pictures(8, seed=1)
    assert np.ptp(scores(float32, images)) > 0.05
    assert simulated(prepare(float32, 1 / 16), images, rounded=False) == pytest.approx(
        scores(float32, images), abs=1e-4
    )


def test_equalising_changes_no_score(float32: bytes) -> None:
    images = pictures(8, seed=1)
    assert simulated(quantised(float32), images, rounded=False) == pytest.approx(scores(float32, images), abs=1e-3)


@pytest.mark.parametrize("int8_below", [1 / 16, 1 / 32, 0])
def test_the_int8_file_is_what_was_simulated(float32: bytes, int8_below: float) -> None:
    graph, images = quantised(float32, int8_below), pictures(8, seed=1)
    content = int8_file(graph)
    assert len(content) < len(float32) / 2.5
    for runtime in installed_runtimes():
        drift = np.abs(scores(content, images, runtime) - simulated(graph, images, rounded=True))
        assert drift.mean() < 0.08, runtime  # processors without AVX512 round differently


def test_the_int8_file_says_nearly_what_the_float_one_says(float32: bytes) -> None:
    images = pictures(32, seed=1)
    both = scores(int8_file(quantised(float32)), images), scores(float32, images)
    assert np.corrcoef(*both)[0, 1] > 0.8  # an untrained network amplifies every rounding


@pytest.fixture(scope="session")
def mobilenet_v3() -> bytes:
    return convert(network("mobilenet_v3_small"), ["float32"])["float32"]


def test_a_fine_tune_brings_int8_nearer_and_leaves_the_teacher_alone(mobilenet_v3: bytes) -> None:
    graph, images = quantised(mobilenet_v3), pictures(32, seed=2)
    batches = [np.stack(pictures(32, seed=seed)).astype(np.float32) for seed in range(10, 40)]
    before = Graph.write(graph)
    tuned = fine_tune(graph, batches, len(batches), lambda step: None)
    wanted = scores(mobilenet_v3, images)
    drift = [np.abs(simulated(known, images, rounded=True) - wanted).mean() for known in (graph, tuned)]
    assert drift[1] < drift[0]
    assert Graph.write(graph) == before


def test_the_same_fine_tune_gives_the_same_bytes(mobilenet_v3: bytes) -> None:
    batches = [np.stack(pictures(8, seed=seed)).astype(np.float32) for seed in range(3)]
    first, second = (int8_file(fine_tune(quantised(mobilenet_v3), batches, 3, lambda step: None)) for _ in range(2))
    assert first == second


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


def test_several_scores_count_in_8_bits_too(three_scores: bytes) -> None:
    graph, images = quantised(three_scores), pictures(8, seed=1)
    assert {step.kind for step in graph.operations if step.int8} == {"CONV_2D"}
    _, logits = Simulation(graph).run(np.stack(images).astype(np.float32), rounded=False)
    of_any = np.logaddexp.reduce(logits.numpy(), axis=1)
    assert 1 / (1 + np.exp(-of_any)) == pytest.approx(scores(three_scores, images), abs=1e-3)
    for runtime in installed_runtimes():
        drift = np.abs(scores(int8_file(graph), images, runtime) - scores(three_scores, images, runtime))
        assert drift.mean() < 0.02, runtime


def test_several_scores_run_as_one_delegate(three_scores: bytes) -> None:
    assert delegates(three_scores) == delegates(int8_file(quantised(three_scores))) == 1


def delegates(content: bytes) -> int:
    """Return into how many pieces XNNPACK takes a model."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return [step["op_name"] for step in interpreter._get_ops_details()].count("DELEGATE")


def test_the_shipped_files_run_as_one_delegate(bundle: Bundle) -> None:
    for precision, classifier in bundle.classifiers.items():
        assert delegates(classifier.content) == 1, precision


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [
        (0, 255, {0: 0, 128: 128, 255: 255}),
        (0, 6, {0: 0, 3: 127.5 * 6 / 255, 6: 6, 7: 6}),
        (-1, 1, {0: 0, -1: -1, 1: 1, 9: 1}),
        (-3, 20, {0: 0, -3: -3, 20: 20}),
    ],
)
def test_eight_bits_keep_zero_and_the_ends(low: float, high: float, values: dict[float, float]) -> None:
    fit = eight_bits(low, high)
    for value, wanted in values.items():
        stored = np.clip(np.round(value / fit.scale[0]) + fit.zero_point[0], -128, 127)
        assert (stored - fit.zero_point[0]) * fit.scale[0] == pytest.approx(wanted, abs=fit.scale[0])
    assert fit.zero_point[0] == round(fit.zero_point[0])


def test_the_best_range_keeps_an_even_spread_and_cuts_a_long_tail() -> None:
    assert best_range(np.linspace(-2, 5, 10_000)) == pytest.approx((-2, 5), rel=0.06)
    values = np.random.default_rng(0).standard_normal(100_000) ** 5
    low, high = best_range(values)
    assert values.min() < low < 0 < high < values.max()


def test_eight_bits_begin_where_the_map_is_a_sixteenth(mobilenet_v3: bytes) -> None:
    graph = prepare(mobilenet_v3, 1 / 16)
    sides = {graph.tensors[step.inputs[0]].shape[1] for step in graph.operations if step.int8}
    assert sides == {SIZE_PX // 16, SIZE_PX // 32}
    assert not eight_bit_tensors(prepare(mobilenet_v3, 0))


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
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_odd_layers_are_quantised_like_any(name: str) -> None:
    content, images = layered(ODD_LAYERS[name]), pictures(8, seed=1)
    wanted = scores(content, images)
    assert name.startswith("dead") or np.ptp(wanted) > 0.05
    assert simulated(prepare(content, 1 / 16), images, rounded=False) == pytest.approx(wanted, abs=1e-5)
    graph = quantised(content)
    assert eight_bit_tensors(graph)
    for runtime in installed_runtimes():
        assert scores(int8_file(graph), images, runtime) == pytest.approx(wanted, abs=0.01), runtime


def test_an_operation_that_is_not_known_is_named() -> None:
    image = keras.Input((SIZE_PX, SIZE_PX, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.ops.sin(keras.layers.Conv2D(8, 3)(image)))
    model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(features))
    content = convert(model, ["float32"])["float32"]
    with pytest.raises(ModelError, match="SIN"):
        observe(prepare(content, 1 / 16), pictures(1))
