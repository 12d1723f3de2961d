from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from sklearn.metrics import log_loss

from facetell.edge.manifest import read_manifest, select
from facetell.edge.scoring import score_crops
from facetell.pipeline.backbones import HEAD_LAYER, build_network, detector
from facetell.pipeline.kinds import fit_vector_scaling, scale_kinds


def any_kind(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.logaddexp.reduce(scores, axis=1)))


def test_scores_that_were_stretched_and_shifted_are_found_out() -> None:
    rng = np.random.default_rng(0)
    meant = rng.normal(-1, 2, (40_000, 2))
    is_fake = rng.random(len(meant)) < any_kind(meant)
    factor, offset = fit_vector_scaling(meant * (1, 3) + (0, 2), is_fake, ["one set"] * len(meant))
    assert factor == pytest.approx([1, 1 / 3], rel=0.05)
    assert offset[1] - offset[0] == pytest.approx(-2 / 3, abs=0.1)  # the rest is the balance of the labels


def test_a_small_group_counts_as_much_as_a_large_one() -> None:
    """The large one alone would lift every score, for its fakes come out low."""
    scores = np.array([[-1.0]] * 1000 + [[1.0]] * 10 + [[0.0]] * 100)
    is_fake = np.array([True] * 1010 + [False] * 100)
    alone = fit_vector_scaling(scores, is_fake, ["fakes"] * 1010 + ["reals"] * 100)
    apart = fit_vector_scaling(scores, is_fake, ["many"] * 1000 + ["few"] * 10 + ["reals"] * 100)
    assert apart[0][0] > alone[0][0]


def test_a_kind_that_nothing_is_known_of_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    scores = np.stack([rng.normal(0, 2, 500), np.full(500, -50.0)], axis=1)
    factor, offset = fit_vector_scaling(scores, rng.random(500) < any_kind(scores), ["a"] * 500)
    assert (factor[1], offset[1]) == pytest.approx((1, 0), abs=0.01)


@pytest.mark.parametrize(("kinds", "changes"), [(1, False), (3, True)])
def test_a_head_of_several_kinds_says_more_truly_what_is_fake(kinds: int, changes: bool, small_crops: Path) -> None:
    model: Any = detector(build_network("none", "cnn", kinds=kinds), 64)
    head, rng = model.get_layer(HEAD_LAYER), np.random.default_rng(0)
    head.set_weights([rng.normal(0, 5, head.kernel.shape), np.full(kinds, 2.0)])
    validation = select(read_manifest(small_crops), "validation")
    labels = [record.is_fake for record in validation]
    before, weights = score_crops(model.predict_on_batch, small_crops, validation, 64), head.get_weights()
    scale_kinds(model, small_crops, validation, 64, face_px=64, self_blends=False)
    after = score_crops(model.predict_on_batch, small_crops, validation, 64)
    assert (log_loss(labels, after) < log_loss(labels, before) - 0.05) is changes
    assert (
        all(np.array_equal(one, other) for one, other in zip(weights, head.get_weights(), strict=True)) is not changes
    )
