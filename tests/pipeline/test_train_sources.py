"""Training on several sources: some left out, some that lack something, some reserved to set the thresholds."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from sklearn.metrics import roc_auc_score

from facetell.edge.calibration import Calibration
from facetell.edge.crops import read_crop
from facetell.edge.cut import centre
from facetell.edge.errors import DatasetError
from facetell.edge.manifest import Record, read_manifest, split_sha256
from facetell.edge.run import Run
from facetell.edge.scoring import calibrate
from facetell.pipeline.backbones import kind_scores
from facetell.pipeline.kinds import fit_temperature
from facetell.pipeline.train import TrainSettings, train
from facetell.tools.cli import run as facetell

from .runs import history_of, relabelled


def in_turn(*sources: str) -> Callable[[Record], Record]:
    """Return what gives records the sources in turn."""
    of_next = cycle(sources)
    return lambda known: replace(known, source=next(of_next))


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory: pytest.TempPathFactory, small_crops: Path) -> Path:
    return relabelled(small_crops, tmp_path_factory.mktemp("two") / "crops", in_turn("one", "two"))


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
    records = read_manifest(crops)
    reserved = [known for known in records if known.split == "reserved"]
    raw, _, thresholds = calibrate(model.predict_on_batch, crops, records, Calibration())
    assert run.chosen_by == "reserved"
    assert run.validation_auc == pytest.approx(roc_auc_score([known.is_fake for known in reserved], raw))
    assert run.calibration == Calibration()  # it is in the head
    scores = kind_scores(model, 64).predict_on_batch(
        np.stack([centre(read_crop(crops, known), 64) for known in reserved]).astype(np.float32)
    )
    temperature, bias = fit_temperature(scores.astype(np.float64), np.array([known.is_fake for known in reserved]))
    assert (temperature, bias) == pytest.approx((1, 0), abs=0.2)  # nothing is left to calibrate
    assert (run.thresholds.real, run.thresholds.fake) == pytest.approx((thresholds.real, thresholds.fake), abs=1e-4)
    assert "fake reserved and validation faces" in run.thresholds.chosen_at


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
