"""Trainings that are killed and go on."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from facetell.edge.run import Run
from facetell.pipeline.backbones import BACKBONE_LAYER, build_network
from facetell.pipeline.train import TrainSettings, train

from .runs import all_weights, backbone_weights, history_of


class Killed(Exception):
    """What ends a training in these tests."""


@pytest.fixture(scope="module")
def stopped_twice(tmp_path_factory: pytest.TempPathFactory, small_crops: Path, settings: TrainSettings):
    """A training that was ended after its first epoch and in the midst of its third, and then finished.

    Comes with the epochs that each call finished, and the backbone's weights after the first two.
    """
    output = tmp_path_factory.mktemp("stopped") / "run"
    finished: list[list[int]] = []

    def after_first(row, epochs: int) -> None:
        finished[-1].append(row.epoch)
        if row.epoch == 1:
            raise Killed

    def amidst_third(done: float, epochs: int) -> None:
        if done == 2.5:
            raise Killed

    checkpoints: list[dict[str, np.ndarray]] = []
    for callbacks in (
        {"on_epoch": after_first},
        {"on_epoch": after_first, "on_batch": amidst_third},
        {"on_epoch": after_first},
    ):
        finished.append([])
        try:
            train(small_crops, output, settings, **callbacks)
        except Killed:
            assert not (output / "run.json").exists()
            checkpoints.append(backbone_weights(*(output / "checkpoints").glob("epoch-*")))
    return output, finished, checkpoints


def test_a_stopped_training_goes_on_from_its_last_whole_epoch(stopped_twice) -> None:
    output, finished, _ = stopped_twice
    assert finished == [[1], [2], [3]]
    assert [(row["epoch"], row["phase"], row["size_px"]) for row in history_of(output)] == [
        ("1", "head", "32"),
        ("2", "whole", "32"),
        ("3", "whole", "64"),
    ]
    assert {path.name for path in output.iterdir()} >= {"model.keras", "run.json", "curves.png"}
    assert not (output / "checkpoints").exists()


def test_a_stopped_training_ends_where_a_whole_one_does(
    tmp_path: Path, stopped_twice, small_crops: Path, settings: TrainSettings
) -> None:
    train(small_crops, tmp_path / "run", settings)
    whole, stopped = (all_weights(folder) for folder in (tmp_path / "run", stopped_twice[0]))
    assert len(whole) > 200
    assert all(np.array_equal(one, other) for one, other in zip(whole, stopped, strict=True))
    assert Run.read(tmp_path / "run") == Run.read(stopped_twice[0])


def test_a_training_killed_at_its_very_end_scales_its_kinds_once(
    tmp_path: Path, stopped_twice, small_crops: Path, settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("facetell.pipeline.kinds.MIN_FACES", 1)
    with monkeypatch.context() as patch:
        patch.setattr("facetell.pipeline.train.plot_history", killed)
        with pytest.raises(Killed):
            train(small_crops, tmp_path / "run", settings)
    *_, kernel, bias = all_weights(tmp_path / "run")
    train(small_crops, tmp_path / "run", settings)
    *_, kernel_after, bias_after = all_weights(tmp_path / "run")
    *_, unscaled, _ = all_weights(stopped_twice[0])
    assert kernel.shape[1] == 2  # of the one set, and of self-blends
    assert np.array_equal(kernel_after, kernel)
    assert np.array_equal(bias_after, bias)
    assert not np.allclose(kernel, unscaled, rtol=0.01)


def test_a_stopped_training_keeps_its_schedule(stopped_twice) -> None:
    """Flat for the head; then, over 8 batches, one of warm-up and a cosine behind it."""
    rates = [float(row["learning_rate"]) for row in history_of(stopped_twice[0])]
    cosine = [0.5 * (1 + math.cos(math.pi * (batch - 1) / 7)) for batch in (4, 8)]
    assert rates == pytest.approx([1e-3, *(1e-3 * share for share in cosine)], rel=1e-3)


def test_the_head_phase_leaves_the_backbone_alone(stopped_twice, small_weights: Path) -> None:
    _, _, (after_head, _) = stopped_twice
    backbone: Any = build_network(str(small_weights)).get_layer(BACKBONE_LAYER)
    before = [weight.numpy() for weight in backbone.weights]
    assert len(after_head) == len(before) > 200
    for (name, weight), wanted in zip(after_head.items(), before, strict=True):
        assert np.array_equal(weight, wanted), name


def test_the_whole_phase_trains_the_backbone(stopped_twice) -> None:
    _, _, (after_head, after_whole) = stopped_twice
    assert after_head.keys() == after_whole.keys()
    assert [name for name, weight in after_head.items() if np.array_equal(after_whole[name], weight)] == []
