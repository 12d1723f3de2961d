import json
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")

import keras
from sklearn.metrics import roc_auc_score

from facetell.edge.errors import DatasetError
from facetell.edge.manifest import Record, read_manifest, split_sha256, write_manifest
from facetell.edge.run import Run
from facetell.edge.scoring import calibrate, score_crops
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
    p_fake = score_crops(model.predict_on_batch, crops, validation, 224)
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


def test_whole_sources_are_left_out(tmp_path: Path, two_sources: Path, settings: TrainSettings) -> None:
    run = train(two_sources, tmp_path / "run", replace(settings, epochs=1, leave_out=("two",)))
    assert run.pictures == {
        f"one {label} {split}": count
        for label in ("fake", "real")
        for split, count in (("test", 2), ("train", 4), ("validation", 2))
    }
    assert run.split_sha256 == split_sha256(read_manifest(two_sources))  # evaluate finds the left out in its splits


LEFT_OUT = {
    # what is left out -> what is said
    "a source that is not there": (("elsewhere",), "there is no source elsewhere to leave out; wanted one of one, two"),
    "all sources": (("one", "two"), "without one, two there are no fake pictures; leave out fewer sources"),
}


@pytest.mark.parametrize(("sources", "said"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_cannot_be_left_out_is_named(
    tmp_path: Path, two_sources: Path, sources: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DatasetError, match=said):
        train(two_sources, tmp_path / "run", TrainSettings(weights="none", leave_out=sources))
    assert not (tmp_path / "run").exists()


# Sources that a user may have


def in_turn(*sources: str) -> Callable[[Record], Record]:
    """Return what gives records the sources in turn."""
    of_next = cycle(sources)
    return lambda known: replace(known, source=next(of_next))


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory: pytest.TempPathFactory, small_crops: Path) -> Path:
    return relabelled(small_crops, tmp_path_factory.mktemp("two") / "crops", in_turn("one", "two"))


def only_label(known: Record) -> Record:
    return replace(known, source="stock" if known.label == "real" else "gan")


def one_picture(known: Record) -> Record:
    lone = {"real/train0.png": "photo", "fake/train0.png": "swap"}
    return replace(known, source=lone.get(known.path, "set"))


def one_is_tight(known: Record) -> Record:
    is_tight = known.path[-5] in "02"
    return replace(known, source="tight" if is_tight else "roomy", room_ratio=1.0 if is_tight else 1.5)


ODD_SETS: dict[str, tuple[Callable[[Record], Record], float, set[str]]] = {
    # how sources are given to the crops, the share of self-blends -> the sources of the training pictures
    "one label a source": (only_label, 0.25, {"stock", "gan"}),
    "one label a source, no self-blends": (only_label, 0, {"stock", "gan"}),
    "sources of one picture": (one_picture, 0.25, {"set", "photo", "swap"}),
    "crops without room beside others": (one_is_tight, 0.25, {"tight", "roomy"}),
}


@pytest.mark.parametrize(("change", "self_blends", "sources"), ODD_SETS.values(), ids=ODD_SETS)
def test_sources_that_lack_something_are_used_all_the_same(
    tmp_path: Path, small_crops: Path, change: Callable[[Record], Record], self_blends: float, sources: set[str]
) -> None:
    crops = relabelled(small_crops, tmp_path / "crops", change)
    settings = TrainSettings("cnn", epochs=1, batch_size=8, self_blend_share=self_blends)
    run = train(crops, tmp_path / "run", settings)
    assert {key.split(" ")[0] for key in run.pictures if key.endswith(" train")} == sources
    assert 0 <= run.validation_auc <= 1
    assert np.isfinite([float(row["loss"]) for row in history_of(tmp_path / "run")]).all()


def test_a_training_in_batches_of_one_shows_a_pair(tmp_path: Path, small_crops: Path) -> None:
    assert train(small_crops, tmp_path / "run", TrainSettings("cnn", epochs=1, batch_size=1)).validation_auc >= 0


# Reserved sources


def reserving(*sources: str) -> Callable[[Record], Record]:
    return lambda known: replace(known, split="reserved") if known.source in sources else known


@pytest.fixture(scope="module")
def reserved_run(tmp_path_factory: pytest.TempPathFactory, two_sources: Path) -> Path:
    folder = tmp_path_factory.mktemp("reserved")
    crops = relabelled(two_sources, folder / "crops", reserving("two"))
    train(crops, folder / "run", TrainSettings("cnn", epochs=3, batch_size=8, learning_rate=0.01))
    return folder / "run"


def test_reserved_pictures_neither_train_nor_validate(reserved_run: Path) -> None:
    pictures = Run.read(reserved_run).pictures
    assert pictures == {
        "one fake test": 2,
        "one fake train": 4,
        "one fake validation": 2,
        "one real test": 2,
        "one real train": 4,
        "one real validation": 2,
        "two fake reserved": 8,
        "two real reserved": 8,
    }


def test_epoch_calibration_and_thresholds_come_from_reserved_pictures(reserved_run: Path) -> None:
    run = Run.read(reserved_run)
    crops = reserved_run.parent / "crops"
    model: Any = keras.saving.load_model(reserved_run / "model.keras")
    reserved = [known for known in read_manifest(crops) if known.split == "reserved"]
    raw, calibration, thresholds = calibrate(model.predict_on_batch, crops, reserved, 64)
    auc = roc_auc_score([known.is_fake for known in reserved], raw)
    assert run.chosen_by == "reserved"
    assert run.validation_auc == pytest.approx(auc)
    assert max(float(row["validation_auc"]) for row in history_of(reserved_run)) == pytest.approx(auc)
    assert (run.calibration.temperature, run.calibration.bias) == pytest.approx(
        (calibration.temperature, calibration.bias), abs=1e-4
    )
    assert (run.thresholds.real, run.thresholds.fake) == pytest.approx((thresholds.real, thresholds.fake), abs=1e-4)
    assert "fake reserved faces" in run.thresholds.chosen_at


def test_without_reserved_pictures_they_come_from_the_validation_split(run: Path) -> None:
    assert Run.read(run).chosen_by == "validation"
    assert "fake validation faces" in Run.read(run).thresholds.chosen_at


FROM_TRAINED = "The thresholds come from validation pictures of the sources it was trained on"
TOLD: dict[str, tuple[Callable[[Record], Record], bool, bool]] = {
    # sources -> whether it is said that the thresholds are of trained sources, and how to reserve some
    "one": (lambda known: known, True, False),
    "three": (in_turn("one", "two", "three"), True, True),
    "four, two of them reserved": (lambda known: reserving("2", "3")(numbered(known)), False, False),
    "three, the reals of one reserved": (lambda known: reserving("photo")(one_picture(known)), True, True),
}


def numbered(known: Record) -> Record:
    return replace(known, source=str(int(known.path[-5]) % 4))


@pytest.mark.parametrize(("change", "told", "told_how"), TOLD.values(), ids=TOLD)
def test_the_command_says_where_the_thresholds_come_from(
    tmp_path: Path,
    small_crops: Path,
    change: Callable[[Record], Record],
    told: bool,
    told_how: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    crops = relabelled(small_crops, tmp_path / "crops", change)
    words = ["train", str(crops), "-o", str(tmp_path / "run"), "--backbone", "cnn", "--epochs", "1"]
    assert facetell(words) == 0
    first, *others = capsys.readouterr().out.splitlines()
    chosen_by = "validation" if told else "reserved"
    assert f"AUC {Run.read(tmp_path / 'run').validation_auc:.4f} of the {chosen_by} pictures; fake from" in first
    assert [line.startswith(FROM_TRAINED) and "new sources" in line for line in others[:1]] == [True] * told
    assert [line.endswith(f"facetell split {crops} --reserve SOURCE") for line in others[1:]] == [True] * told_how


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
