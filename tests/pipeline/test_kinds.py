from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from sklearn.metrics import roc_auc_score

from facetell.edge.crops import SHOWN_RATIO, read_crop
from facetell.edge.cut import centre, closer
from facetell.edge.manifest import read_manifest, select
from facetell.pipeline.backbones import HEAD_LAYER, build_network, detector, kind_scores
from facetell.pipeline.batches import SELF_BLEND
from facetell.pipeline.kinds import (
    MAX_TEMPERATURE,
    MIN_FACES,
    fit_temperature,
    fit_vector_scaling,
    scale_kinds,
    temper_kinds,
)


def any_kind(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.logaddexp.reduce(scores, axis=1)))


def auc_of_any(scores: np.ndarray, is_fake: np.ndarray) -> float:
    return float(roc_auc_score(is_fake, np.logaddexp.reduce(scores, axis=1)))


def faces(rng: np.random.Generator, counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores, labels and groups of counts[0] real faces and counts[1:] fakes of each kind, one score a kind."""
    means = np.full((len(counts), len(counts) - 1), -3.0)
    means[range(1, len(counts)), range(len(counts) - 1)] = 3
    group = np.repeat(range(len(counts)), counts)
    return rng.normal(means[group], 2), group > 0, group.astype(str)


def test_scores_that_were_stretched_and_shifted_are_found_out() -> None:
    rng = np.random.default_rng(0)
    meant = rng.normal(-1, 2, (40_000, 2))
    is_fake = rng.random(len(meant)) < any_kind(meant)
    factor, offset = fit_vector_scaling(meant * (1, 3) + (0, 2), is_fake, np.full(len(meant), "one set"))
    # (1, 1/3) and (0, -2/3), but for what they have in common: sqrt(1/3), and then a half of the difference
    assert factor == pytest.approx([3**0.5, 3**-0.5], rel=0.03)
    assert offset == pytest.approx([3**-0.5, -(3**-0.5)], abs=0.08)


@pytest.mark.parametrize("seed", range(3))
def test_a_kind_that_false_alarms_come_from_is_turned_down(seed: int) -> None:
    scores, is_fake, groups = faces(np.random.default_rng(seed), [1000, 500, 500])
    stretched = scores * (1, 4)
    factor, offset = fit_vector_scaling(stretched, is_fake, groups)
    better = auc_of_any(stretched * factor + offset, is_fake)
    assert auc_of_any(stretched, is_fake) + 0.005 < better
    assert better == pytest.approx(auc_of_any(scores, is_fake), abs=0.002)


@pytest.mark.parametrize("few", [1, 3])
def test_a_few_faces_do_not_take_from_the_many(few: int) -> None:
    rng = np.random.default_rng(0)
    scores, is_fake, groups = faces(rng, [1000, 1000, 100])
    odd = np.full((few, 2), -3.0)  # fakes nobody could tell
    told = auc_of_any(scores, is_fake)
    factor, offset = fit_vector_scaling(
        np.concatenate([scores, odd]), np.append(is_fake, [True] * few), np.append(groups, ["odd"] * few)
    )
    assert auc_of_any(scores * factor + offset, is_fake) > told - 0.01


def test_scores_that_separate_all_faces_stay_finite() -> None:
    scores, is_fake, groups = faces(np.random.default_rng(0), [100, 100, 100])
    scores = np.where(scores > 0, 1000.0, -1000.0) * np.abs(np.sign(scores))
    factor, offset = fit_vector_scaling(scores, is_fake, groups)
    assert np.isfinite([*factor, *offset]).all()


@pytest.mark.parametrize(
    ("kinds", "times", "changed"),
    [
        (["cameras"], 10, []),  # one score is calibration's
        (["cameras", "others"], 10, []),  # of the others there are no fakes
        (["cameras", SELF_BLEND], 10, [0, 1]),
        (["cameras", "others", SELF_BLEND], 10, [0, 2]),
        (["cameras", SELF_BLEND], 1, []),  # too few
    ],
)
def test_what_is_scaled(kinds: list[str], times: int, changed: list[int], small_crops: Path) -> None:
    keras.utils.set_random_seed(0)
    model: Any = detector(build_network("none", "cnn", kinds=len(kinds)), 64)
    head = model.get_layer(HEAD_LAYER)
    head.set_weights([np.random.default_rng(0).normal(0, 5, head.kernel.shape), np.full(len(kinds), 2.0)])
    records = select(read_manifest(small_crops), "validation")
    kinds = [records[0].source if kind == "cameras" else kind for kind in kinds]
    images = np.stack([centre(read_crop(small_crops, record), 64) for record in records]).astype(np.float32)
    network = kind_scores(model, 64)
    before = network.predict_on_batch(images)
    assert (len([record for record in records if record.is_fake]) * times >= MIN_FACES) == (times == 10)
    scale_kinds(model, kinds, small_crops, records * times)
    after = network.predict_on_batch(images)
    assert [
        column for column in range(len(kinds)) if not np.array_equal(before[:, column], after[:, column])
    ] == changed
    for column in changed:  # by a factor and an offset
        assert np.corrcoef(before[:, column], after[:, column])[0, 1] == pytest.approx(1, abs=1e-3)
    assert model.predict_on_batch(images)[:, 0] == pytest.approx(any_kind(after), abs=1e-4)


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (3.0, 0.0), (2.0, 1.5), (0.5, -1.0)])
def test_a_temperature_and_a_bias_are_found_out(temperature: float, bias: float) -> None:
    rng = np.random.default_rng(0)
    meant = rng.normal(-1.7, 2, (40_000, 3))
    is_fake = rng.random(len(meant)) < 1 / (1 + np.exp(-np.logaddexp.reduce(meant, axis=1) - bias))
    weights = len(meant) / 2 / np.where(is_fake, is_fake.sum(), (~is_fake).sum())
    fitted = fit_temperature(meant * temperature, is_fake)
    assert fitted[0] == pytest.approx(temperature, rel=0.05)
    assert fitted[1] == pytest.approx(bias + np.log(weights[is_fake][0] / weights[~is_fake][0]), abs=0.08)


@pytest.mark.parametrize("is_fake", [np.arange(40) < 20, np.arange(40) >= 20, np.ones(40, bool)])
def test_a_temperature_has_its_limits(is_fake: np.ndarray) -> None:
    scores = np.where(np.arange(40)[:, None] < 20, 30.0, -30.0) * np.ones((1, 2))
    temperature, bias = fit_temperature(scores, is_fake)
    assert 1 / MAX_TEMPERATURE <= temperature <= MAX_TEMPERATURE
    assert np.isfinite(bias)


@pytest.mark.parametrize("room_ratio", [0.0, 1.5])
def test_what_is_tempered_is_the_head(room_ratio: float, small_crops: Path) -> None:
    keras.utils.set_random_seed(0)
    model: Any = detector(build_network("none", "cnn", kinds=3), 64)
    head = model.get_layer(HEAD_LAYER)
    head.set_weights([np.random.default_rng(0).normal(0, 50, head.kernel.shape), np.full(3, 9.0)])
    records = [replace(r, room_ratio=room_ratio) for r in select(read_manifest(small_crops), "validation")]
    crops = [centre(read_crop(small_crops, record), 64) for record in records]
    images = np.stack([closer(crop, room_ratio / SHOWN_RATIO) for crop in crops]).astype(np.float32)
    before = kind_scores(model, 64).predict_on_batch(images)
    temperature, bias = fit_temperature(before.astype(np.float64), np.array([r.is_fake for r in records]))
    temper_kinds(model, small_crops, records)
    assert temperature != pytest.approx(1, abs=0.1)
    assert kind_scores(model, 64).predict_on_batch(images) == pytest.approx(before / temperature + bias, rel=1e-3)
