"""facetell export --keras: a hobby project's model becomes a bundle, measured like our own."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("mediapipe")

import keras

from facetell.edge.bundle import load_bundle
from facetell.edge.cut import centre
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.edge.manifest import read_manifest
from facetell.tools.cli import run as facetell

# MediaPipe's metadata writer leaves its temporary folder to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")


def save_cnn(path: Path, seed: int) -> None:
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Input((224, 224, 3))]
    for filters in (8, 16, 16, 32):
        layers += [keras.layers.Conv2D(filters, 3, activation="relu"), keras.layers.MaxPooling2D()]
    layers += [keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential([*layers, keras.layers.Dense(1, activation="sigmoid")]).save(path)


@pytest.fixture(scope="module")
def hobby_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CNN for 0..1 whose class 1 is real, as flow_from_directory numbers them."""
    path = tmp_path_factory.mktemp("hobby") / "deepfake_cnn.keras"
    save_cnn(path, seed=0)
    return path


def test_it_is_scanned_like_our_own(hobby_model: Path, crops: Path, tmp_path: Path) -> None:
    arguments = ["--keras", str(hobby_model), "--range", "0..1", "--positive", "real", "--crops", str(crops)]
    code = facetell(["export", *arguments, "-o", str(tmp_path / "bundle")])
    manifest = json.loads((tmp_path / "bundle" / "model.json").read_text())
    assert code == 0
    assert manifest["name"] == "deepfake_cnn"
    assert list(manifest["files"]) == ["float32", "float16", "int8"]
    assert all(row["mean_drift"] < 1e-4 for row in manifest["metrics"]["float32"]["measured"])
    assert "not known: it was trained elsewhere" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    bundle = load_bundle(tmp_path / "bundle")
    detector = Detector(bundle, pre_cropped=True)
    model = keras.saving.load_model(hobby_model)
    calibration = bundle.classifier().calibration
    for known in read_manifest(crops)[:4]:
        crop = centre(read_image(crops / known.path), 224)
        p_real = model.predict_on_batch(crop[np.newaxis] / np.float32(255))[:, 0]
        assert detector.score(crop) == pytest.approx(calibration.apply(1 - p_real)[0], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name a RUN"),
        (["RUN", "--keras", "MODEL"], 2, "one of them"),
        (["RUN", "--range", "0..1"], 2, "are for --keras"),
        (["RUN", "--trust"], 2, "are for --keras"),
        (["--keras", "MODEL", "--positive", "real"], 2, "wants --crops"),
        (["--keras", "MODEL", "--crops", "CROPS"], 2, "wants --crops"),
        (["--keras", "MODEL", "--crops", "CROPS", "--positive", "maybe"], 2, "maybe"),
        (["--keras", "model.h5", "--crops", "CROPS", "--positive", "real"], 1, "model.h5"),
    ],
)
def test_what_is_missing_is_named(
    hobby_model: Path,
    crops: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    known = {"MODEL": str(hobby_model), "CROPS": str(crops)}
    assert facetell(["export", *(known.get(word, word) for word in arguments), "-o", str(tmp_path / "b")]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_crops_of_another_size_are_refused(tmp_path: Path, crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = keras.Sequential(
        [keras.layers.Input((96, 96, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
    )
    model.save(tmp_path / "small.keras")
    arguments = ["--keras", str(tmp_path / "small.keras"), "--positive", "fake", "--crops", str(crops)]
    assert facetell(["export", *arguments, "-o", str(tmp_path / "b")]) == 1
    assert "facetell crop DATASET -o CROPS --size 96" in capsys.readouterr().err


def test_a_model_that_scores_the_wrong_way_round_is_refused(
    tmp_path: Path, crops: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_cnn(tmp_path / "cnn.keras", seed=2)  # on these crops, its class 1 is fake
    arguments = ["--keras", str(tmp_path / "cnn.keras"), "--range", "0..1", "--crops", str(crops)]
    assert facetell(["export", *arguments, "--positive", "real", "-o", str(tmp_path / "b")]) == 1
    assert "is --positive the other one?" in capsys.readouterr().err
