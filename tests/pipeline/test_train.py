"""What a training leaves in its folder, what goes over nothing, and how its settings are heeded."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")

import keras

from facetell.edge.errors import DatasetError
from facetell.edge.manifest import read_manifest, split_sha256, write_manifest
from facetell.edge.run import Run
from facetell.edge.scoring import score_crops
from facetell.pipeline.backbones import BACKBONE_LAYER, BACKBONES, HEAD_LAYER, build_network, detector
from facetell.pipeline.batches import TrainingBatches
from facetell.pipeline.commands import train as train_command
from facetell.pipeline.train import TrainSettings, default_epochs, train, training_size_px
from facetell.tools.cli import run as facetell

from ..pictures import tree
from .runs import history_of, relabelled

COLUMNS = [
    *("epoch", "phase", "size_px", "learning_rate", "loss", "accuracy"),
    *("validation_loss", "validation_accuracy", "validation_auc", "duration_s", "pictures_per_s"),
]


def test_a_run_leaves_a_model_its_history_and_its_curves(run: Path) -> None:
    assert {path.name for path in run.iterdir()} >= {
        "model.keras",
        "model.weights.h5",
        "history.csv",
        "curves.png",
        "run.json",
    }
    assert not (run / "checkpoints").exists()
    assert list(history_of(run)[0]) == COLUMNS
    assert [row["phase"] for row in history_of(run)] == ["head"] + ["whole"] * 5
    assert {row["size_px"] for row in history_of(run)} == {"224"}  # the cnn resizes by itself
    with Image.open(run / "curves.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_run_json_says_how_it_was_trained(run: Path, crops: Path) -> None:
    known = json.loads((run / "run.json").read_text())
    assert known["backbone"] == "cnn"
    assert known["crops"] == str(crops)
    assert known["split_sha256"] == split_sha256(read_manifest(crops))
    assert known["arguments"] == {
        "backbone": "cnn",
        "weights": "none",
        "epochs": 6,
        "head_epochs": 1,
        "open_layers": None,
        "head_l2": 0.0,
        "batch_size": 8,
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "seed": 0,
        "self_blend_share": 0,
        "leave_out": [],
    }
    assert set(known["versions"]) >= {"python", "tensorflow", "keras", "mediapipe", "numpy", "facetell"}
    assert (known["input_size_px"], known["margin_ratio"], known["pre_cropped"]) == (224, 1.5, False)
    assert known["min_face_px"] == 48
    assert sum(known["pictures"].values()) == 24
    assert known["pictures"]["raw fake train"] >= 8
    assert known["thresholds"]["real"] <= 0.5 <= known["thresholds"]["fake"]


def test_the_best_epoch_is_kept(run: Path, crops: Path) -> None:
    validation = [known for known in read_manifest(crops) if known.split == "validation"]
    model: Any = keras.saving.load_model(run / "model.keras")
    p_fake = score_crops(model.predict_on_batch, crops, validation)
    labels = np.array([known.is_fake for known in validation])
    pairs = [np.sign(fake - real) for fake in p_fake[labels] for real in p_fake[~labels]]
    auc = (np.mean(pairs) + 1) / 2
    assert auc == pytest.approx(max(float(row["validation_auc"]) for row in history_of(run)))
    assert Run.read(run).validation_auc == pytest.approx(auc)
    assert np.ptp(p_fake) > 1e-4


def test_the_h5_file_is_the_same_model(run: Path, crops: Path) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    whole: Any = keras.saving.load_model(run / "model.keras", compile=False)
    loaded: Any = detector(build_network(weights="none", name="cnn"), 224)
    loaded.load_weights(run / "model.weights.h5")
    of_keras, of_h5 = (model.predict_on_batch(images) for model in (whole, loaded))
    assert of_h5 == pytest.approx(of_keras, abs=1e-6)


@pytest.mark.parametrize(
    ("size_px", "epochs", "shown"),
    [
        (224, 6, [160] * 4 + [224] * 2),
        (224, 2, [160, 224]),
        (224, 1, [224]),
        (128, 3, [96, 96, 128]),
        (32, 3, [32, 32, 32]),
    ],
)
def test_the_last_third_sees_the_size_that_is_used(size_px: int, epochs: int, shown: list[int]) -> None:
    assert [training_size_px(size_px, epoch, epochs) for epoch in range(epochs)] == shown


def test_a_finished_run_is_returned_as_it_is(run: Path, crops: Path) -> None:
    before = tree(run)
    epochs: list[int] = []
    known = Run.read(run)
    again = train(crops, run, TrainSettings(**known.arguments), on_epoch=lambda row, _: epochs.append(row.epoch))
    assert again == known
    assert epochs == []
    assert tree(run) == before


@pytest.mark.parametrize("changed", [{"seed": 6}, {"epochs": 3}, {"batch_size": 4}, {"backbone": "mobilenet"}])
def test_other_settings_do_not_go_over_a_run(run: Path, crops: Path, changed: dict[str, Any]) -> None:
    before = tree(run)
    settings = replace(TrainSettings(**Run.read(run).arguments), **changed)
    with pytest.raises(DatasetError, match=f"training {next(iter(changed))} was "):
        train(crops, run, settings)
    assert tree(run) == before


def test_another_split_does_not_go_over_a_run(run: Path, small_crops: Path) -> None:
    with pytest.raises(DatasetError, match="split_sha256 was "):
        train(small_crops, run, TrainSettings(**Run.read(run).arguments))


def test_another_folder_is_not_touched(tmp_path: Path, small_crops: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match="something else"):
        train(small_crops, tmp_path, TrainSettings(weights="none"))
    assert tree(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("changed", [{"label": "real"}, {"split": ""}, {"split": "train"}])
def test_a_split_that_lacks_a_label_is_an_error(tmp_path: Path, small_crops: Path, changed: dict[str, str]) -> None:
    crops = relabelled(small_crops, tmp_path / "crops", lambda known: replace(known, **changed))
    with pytest.raises(DatasetError, match="split has no"):
        train(crops, tmp_path / "run", TrainSettings(weights="none"))
    assert not (tmp_path / "run").exists()


def test_an_epoch_shows_pictures_of_the_size_that_history_says(
    tmp_path: Path, small_crops: Path, settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, ...]] = []
    one_batch = TrainingBatches.__getitem__

    def watched(self: TrainingBatches, index: int):
        images, truths = one_batch(self, index)
        shown.append(images.shape)
        return images, truths

    monkeypatch.setattr(TrainingBatches, "__getitem__", watched)
    train(small_crops, tmp_path / "run", replace(settings, epochs=2, head_epochs=2, batch_size=16))
    assert [row["size_px"] for row in history_of(tmp_path / "run")] == ["32", "64"]
    assert {shape[1:] for shape in shown} == {(32, 32, 3), (64, 64, 3)}


def test_only_the_last_layers_are_opened(
    tmp_path: Path, small_crops: Path, small_weights: Path, settings: TrainSettings
) -> None:
    train(small_crops, tmp_path / "run", replace(settings, epochs=1, head_epochs=0, open_layers=20))
    after: Any = keras.saving.load_model(tmp_path / "run" / "model.keras").get_layer(BACKBONE_LAYER)
    before: Any = build_network(str(small_weights)).get_layer(BACKBONE_LAYER)
    changed = [
        place
        for place, (one, other) in enumerate(zip(before.layers, after.layers, strict=True))
        if not all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    ]
    with_weights = [place for place, layer in enumerate(before.layers) if layer.weights]
    assert changed == [place for place in with_weights if place >= len(before.layers) - 20]


def test_more_layers_than_there_are_cannot_be_opened(tmp_path: Path, small_crops: Path) -> None:
    with pytest.raises(DatasetError, match="cnn has 9 layers; 20 of them cannot be opened"):
        train(small_crops, tmp_path / "run", TrainSettings("cnn", open_layers=20))
    assert not (tmp_path / "run").exists()


def test_the_command_line_says_how_to_train(tmp_path: Path, small_crops: Path) -> None:
    options = {"backbone": "cnn", "epochs": 1, "open_layers": 2, "head_l2": 0.5, "batch_size": 4, "seed": 3}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words += ["--self-blends", "0.5", "--learning-rate", "0.01"]
    assert facetell(["train", str(small_crops), "-o", str(tmp_path / "run"), *words]) == 0
    known = Run.read(tmp_path / "run").arguments
    assert {name: known[name] for name in options} == options
    assert (known["self_blend_share"], known["learning_rate"], known["weights"]) == (0.5, 0.01, "none")


def test_every_network_can_be_named_on_the_command_line() -> None:
    (option,) = (parameter for parameter in train_command.params if parameter.name == "backbone")
    assert list(option.type.choices) == list(BACKBONES)  # pyright: ignore


def test_a_start_there_is_not_is_wrong_usage(tmp_path: Path, small_crops: Path) -> None:
    wrong = ["--backbone", "cnn", "--weights", "imagenet"]
    assert facetell(["train", str(small_crops), "-o", str(tmp_path / "run"), *wrong]) == 2
    assert facetell(["pipeline", str(tmp_path), "-o", str(tmp_path / "run"), *wrong]) == 2
    assert tree(tmp_path) == {}


def test_the_head_can_be_held_small(tmp_path: Path, small_crops: Path) -> None:
    sizes = []
    for head_l2 in (0.0, 10.0):
        settings = TrainSettings("cnn", epochs=3, batch_size=4, head_l2=head_l2, learning_rate=0.02)
        train(small_crops, tmp_path / str(head_l2), settings)
        model: Any = keras.saving.load_model(tmp_path / str(head_l2) / "model.keras")
        sizes.append(np.abs(model.get_layer(HEAD_LAYER).kernel.numpy()).mean())
    assert sizes[1] < sizes[0] / 2


def test_a_training_in_batches_of_one_shows_a_pair(tmp_path: Path, small_crops: Path) -> None:
    assert train(small_crops, tmp_path / "run", TrainSettings("cnn", epochs=1, batch_size=1)).validation_auc >= 0


@pytest.mark.parametrize("turned", [False, True], ids=["labels", "labels turned round"])
def test_a_run_finishes_however_bad_it_is(tmp_path: Path, small_crops: Path, small_weights: Path, turned: bool) -> None:
    """One validation picture of each label: the AUC is 0 with the labels one way round, and 1 with the other."""
    chosen = ["real/validation0.png", "fake/validation0.png"]
    crops = relabelled(small_crops, tmp_path / "crops", lambda known: known)
    records = [known for known in read_manifest(crops) if known.split != "validation" or known.path in chosen]
    other = {"real": "fake", "fake": "real"}
    write_manifest(
        crops,
        [replace(r, label=other[r.label]) if turned and r.split == "validation" else r for r in records],
    )
    made = train(crops, tmp_path / "run", TrainSettings(weights=str(small_weights), epochs=1, batch_size=16))
    assert made.validation_auc in (0, 1)
    assert (tmp_path / "run" / "model.keras").exists()


@pytest.mark.parametrize(
    ("pictures", "epochs"), [(1, 30), (1_400, 30), (12_667, 30), (15_816, 24), (19_000, 20), (32_000, 12), (10**6, 12)]
)
def test_small_sets_are_shown_more_often(pictures: int, epochs: int) -> None:
    assert default_epochs(pictures) == epochs


def test_a_slip_in_the_weights_does_not_use_up_the_output(tmp_path: Path, small_crops: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        train(small_crops, tmp_path / "run", TrainSettings(weights=str(tmp_path / "slip.weights.h5")))
    assert tree(tmp_path) == {}
