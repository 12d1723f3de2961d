import numpy as np
import pytest

pytest.importorskip("sklearn")

from facetell.edge.calibration import Thresholds
from facetell.pipeline.metrics import Metrics, auc_interval, measure, per_group, source_groups

THRESHOLDS = Thresholds(real=0.3, fake=0.7, chosen_at="by hand")


def measured(real: list[float], fake: list[float]) -> Metrics:
    return measure(np.array(real + fake), np.repeat([False, True], [len(real), len(fake)]), THRESHOLDS)


@pytest.mark.parametrize(
    ("real", "fake", "accuracy", "precision", "recall", "f1", "auc", "false_alarms", "missed", "uncertain"),
    [
        ([0.1, 0.4], [0.6, 0.9], 1, 1, 1, 1, 1, 0, 0, 0.5),
        ([0.2, 0.8], [0.1, 0.9], 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0),
        ([0.9, 0.8], [0.2, 0.1], 0, 0, 0, 0, 0, 1, 1, 0),
        ([0.5], [0.5], 0.5, 0.5, 1, 2 / 3, 0.5, 0, 0, 1),
        ([0.1, 0.2, 0.6], [0.4, 0.8], 3 / 5, 1 / 2, 1 / 2, 1 / 2, 5 / 6, 0, 0, 2 / 5),
        ([0.3, 0.7], [0.3, 0.7], 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0),
        ([0.1], [0.2, 0.2, 0.9], 0.5, 1, 1 / 3, 0.5, 1, 0, 2 / 3, 0),
        ([0.1, 0.1], [0.2], 2 / 3, 0, 0, 0, 1, 0, 1, 0),
    ],
)
def test_metrics_are_those_counted_by_hand(
    real, fake, accuracy, precision, recall, f1, auc, false_alarms, missed, uncertain
) -> None:
    m = measured(real, fake)
    assert (m.real, m.fake) == (len(real), len(fake))
    assert (m.accuracy, m.precision, m.recall, m.f1) == pytest.approx((accuracy, precision, recall, f1))
    assert m.auc == pytest.approx(auc)
    assert (m.real_called_fake, m.fake_called_real, m.uncertain) == pytest.approx((false_alarms, missed, uncertain))


@pytest.mark.parametrize(
    ("real", "fake", "eer", "brier", "at_threshold"),
    [
        ([0.1, 0.4], [0.6, 0.9], 0, (0.01 + 0.16 + 0.16 + 0.01) / 4, 3 / 4),
        ([0.2, 0.8], [0.1, 0.9], 0.5, (0.04 + 0.64 + 0.81 + 0.01) / 4, 2 / 4),
        ([0.9, 0.8], [0.2, 0.1], 1, (0.81 + 0.64 + 0.64 + 0.81) / 4, 0),
        ([0.5], [0.5], 0.5, 0.25, 1 / 2),
        ([0.1, 0.2, 0.3, 0.7], [0.6, 0.8, 0.9, 0.9], 0.25, None, 6 / 8),
    ],
)
def test_errors_are_those_counted_by_hand(
    real: list[float], fake: list[float], eer: float, brier: float | None, at_threshold: float
) -> None:
    m = measured(real, fake)
    assert (m.eer, m.accuracy_at_threshold) == pytest.approx((eer, at_threshold))
    assert brier is None or m.brier == pytest.approx(brier)


def test_a_set_of_real_pictures_alone_has_no_auc() -> None:
    m = measured([0.1, 0.4, 0.6, 0.9], [])
    assert (m.precision, m.recall, m.f1, m.auc, m.auc_low, m.auc_high, m.eer, m.fake_called_real) == (None,) * 8
    assert (m.real, m.fake, m.accuracy, m.real_called_fake, m.uncertain) == (4, 0, 0.5, 0.25, 0.5)


def test_a_set_of_fake_pictures_alone_has_no_auc() -> None:
    m = measured([], [0.1, 0.4, 0.6, 0.9])
    assert (m.precision, m.recall, m.f1, m.auc, m.auc_low, m.auc_high, m.eer, m.real_called_fake) == (None,) * 8
    assert (m.real, m.fake, m.accuracy, m.fake_called_real, m.uncertain) == (0, 4, 0.5, 0.25, 0.5)


def scores(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and labels of as many real as fake pictures, with an AUC of about .76."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(0, 1, count), rng.normal(1, 1, count)]), np.repeat([False, True], count)


@pytest.mark.parametrize("count", [5, 50, 500])
def test_the_interval_holds_the_auc(count: int) -> None:
    p_fake, labels = scores(count)
    low, high = auc_interval(p_fake, labels)
    auc = measure(p_fake, labels, THRESHOLDS).auc
    assert auc is not None
    assert 0 <= low < auc < high <= 1


def test_the_interval_shrinks_with_the_root_of_the_number() -> None:
    few, many = (np.ptp(auc_interval(*scores(count))) for count in (50, 800))
    assert few / many == pytest.approx(4, rel=0.35)


def test_the_interval_of_a_perfect_detector_is_a_point() -> None:
    assert auc_interval(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])) == (1, 1)


def test_the_interval_is_drawn_by_seed() -> None:
    assert auc_interval(*scores(20)) == auc_interval(*scores(20))
    assert auc_interval(*scores(20), seed=1) != auc_interval(*scores(20), seed=2)


def test_a_group_scores_as_its_faces_do_on_average() -> None:
    p_fake, is_fake = np.array([0.1, 0.9, 0.3, 0.6, 0.8]), np.array([False, True, False, True, True])
    means, labels = per_group(p_fake, is_fake, np.array(["real a", "fake a", "real a", "fake b", "fake a"]))
    assert means == pytest.approx([0.85, 0.6, 0.2])
    assert labels.tolist() == [True, True, False]


def test_lone_fakes_are_grouped_with_all_real_faces() -> None:
    sources = np.array(["swaps", "swaps", "generator", "photos"])
    groups = source_groups(sources, np.array([False, True, True, False]))
    assert {name: chosen.astype(int).tolist() for name, chosen in groups.items()} == {
        "generator": [0, 0, 1, 0],
        "photos": [0, 0, 0, 1],
        "swaps": [1, 1, 0, 0],
        "generator against all real": [1, 0, 1, 1],
        "all": [1, 1, 1, 1],
    }
