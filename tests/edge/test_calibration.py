"""Scores become probabilities that mean something, and verdicts that keep the shares they promise."""

from __future__ import annotations

import numpy as np
import pytest

from facetell.edge.calibration import (
    FALSE_ALARM_SHARE,
    MISSED_SHARE,
    Calibration,
    Thresholds,
    choose_thresholds,
    fit_calibration,
    logit,
)

RAW = np.linspace(0, 1, 101)


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def scores(temperature: float, bias: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Raw scores whose true probability of a fake is that of the calibration, with as many real as fake ones."""
    rng = np.random.default_rng(1)
    true_logit = rng.normal(0, 1.5, count)
    true_logit = np.concatenate([true_logit, -true_logit])
    return sigmoid((true_logit - bias) * temperature), rng.random(2 * count) < sigmoid(true_logit)


def faces(real: list[float] | np.ndarray, fake: list[float] | np.ndarray, source: str = "set"):
    """The arguments of choose_thresholds."""
    return (
        {"clean": np.concatenate([real, fake])},
        np.repeat([False, True], [len(real), len(fake)]),
        [source] * len([*real, *fake]),
    )


# Calibration


@pytest.mark.parametrize(
    ("temperature", "bias"), [(1, 0), (2, 0), (0.5, 0), (1, 1), (1, -1), (1.7, 0.6), (0.7, -0.8), (1, 2)]
)
def test_a_known_calibration_is_found(temperature: float, bias: float) -> None:
    raw, is_fake = scores(temperature, bias)
    found = fit_calibration(raw, is_fake)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.bias == pytest.approx(bias, abs=0.06)


def test_both_labels_count_the_same() -> None:
    """Nine of ten real faces left out: the same correction, where an unweighted fit would add log 10 to the bias."""
    raw, is_fake = scores(1.5, 0.5)
    kept = is_fake | (np.arange(len(raw)) % 10 == 0)
    found = fit_calibration(raw[kept], is_fake[kept])
    assert found.temperature == pytest.approx(1.5, rel=0.1)
    assert found.bias == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(
    ("raw", "is_fake"),
    [
        ([0.2] * 50 + [0.8] * 50, [False] * 50 + [True] * 50),
        ([0.0] * 50 + [1.0] * 50, [False] * 50 + [True] * 50),
        ([0.49] * 500 + [0.51] * 500, [False] * 500 + [True] * 500),
        ([0.98] * 500 + [0.99] * 500, [False] * 500 + [True] * 500),
        ([1.0] * 50 + [0.0] * 50, [False] * 50 + [True] * 50),
        ([0.5] * 100, [False, True] * 50),
        ([1.0] * 100, [False, True] * 50),
        ([0.3], [False]),
        ([0.1, 0.2, 0.3], [True, True, True]),
        ([1.0] * 999 + [0.0], [True] * 999 + [False]),
    ],
    ids=[
        *("apart", "wholly apart", "hardly apart", "apart far up", "the wrong way", "all the same", "all one"),
        *("one face", "only fakes", "one of a label"),
    ],
)
def test_any_scores_give_a_finite_rising_calibration(raw: list[float], is_fake: list[bool]) -> None:
    found = fit_calibration(np.array(raw), np.array(is_fake))
    assert np.isfinite([found.temperature, found.bias]).all()
    p_fake = found.apply(RAW)
    assert np.isfinite(p_fake).all()
    assert (np.diff(p_fake) >= 0).all()
    assert p_fake[-1] > p_fake[0]


def cross_entropy(calibration: Calibration, raw: np.ndarray, is_fake: np.ndarray) -> float:
    """Mean over both labels, each counting the same."""
    p_fake = np.clip(calibration.apply(raw), 1e-12, 1 - 1e-12)
    loss = -np.log(np.where(is_fake, p_fake, 1 - p_fake))
    return float(loss[is_fake].mean() + loss[~is_fake].mean()) / 2


@pytest.mark.parametrize("count", [1000, 5000])  # so many that the prior hardly matters
@pytest.mark.parametrize("shift", [-3, 0, 4])
@pytest.mark.parametrize("overconfidence", [0.5, 1, 3, 6])
def test_no_other_calibration_is_much_better(overconfidence: float, shift: float, count: int) -> None:
    """Also for networks that are far too sure, or lean to one side."""
    rng = np.random.default_rng(0)
    true_logit = rng.normal(0, 1.5, count)
    raw, is_fake = sigmoid(true_logit * overconfidence + shift), rng.random(count) < sigmoid(true_logit)
    found = cross_entropy(fit_calibration(raw, is_fake), raw, is_fake)
    others = [Calibration(t, b) for t in (0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8) for b in np.arange(-8, 8.1, 0.5)]
    assert found <= min(cross_entropy(other, raw, is_fake) for other in others) + 0.03


def test_a_worse_than_random_model_gets_a_flat_score() -> None:
    raw, is_fake = scores(1, 0)
    assert np.ptp(fit_calibration(1 - raw, is_fake).apply(np.array([0.1, 0.9]))) < 0.1


@pytest.mark.parametrize(
    ("calibration", "raw", "p_fake"),
    [
        (Calibration(), 0.3, 0.3),
        (Calibration(), 0.5, 0.5),
        (Calibration(temperature=2), 0.9, 0.75),  # odds 9 become 3
        (Calibration(temperature=0.5), 0.75, 0.9),
        (Calibration(bias=np.log(9)), 0.5, 0.9),
        (Calibration(temperature=2, bias=np.log(3)), 0.9, 0.9),
        (Calibration(), 0.0, 1 / (1 + np.exp(13.8))),
        (Calibration(), 1.0, 1 / (1 + np.exp(-13.8))),
    ],
)
def test_calibration_by_hand(calibration: Calibration, raw: float, p_fake: float) -> None:
    assert calibration.apply(np.array([[raw]])) == pytest.approx(np.array([[p_fake]]))


@pytest.mark.parametrize(("p", "value"), [(0.5, 0), (0.75, np.log(3)), (0, -13.8), (1, 13.8), (1e-9, -13.8)])
def test_logit(p: float, value: float) -> None:
    assert logit(np.array(p)) == pytest.approx(value)


# Verdicts


@pytest.mark.parametrize(
    ("p_fake", "verdict"),
    [
        (0, "real"),
        (np.nextafter(0.3, 0), "real"),
        (0.3, "real"),
        (np.nextafter(0.3, 1), "uncertain"),
        (0.5, "uncertain"),
        (np.nextafter(0.8, 0), "uncertain"),
        (0.8, "fake"),
        (np.nextafter(0.8, 1), "fake"),
        (1, "fake"),
    ],
)
def test_verdicts_at_and_around_the_thresholds(p_fake: float, verdict: str) -> None:
    assert Thresholds(real=0.3, fake=0.8, chosen_at="").verdict(p_fake) == verdict


def test_where_both_thresholds_are_one_nothing_is_uncertain() -> None:
    thresholds = Thresholds(real=0.5, fake=0.5, chosen_at="")
    assert [thresholds.verdict(p) for p in (0.49, 0.5, 0.51)] == ["real", "fake", "fake"]


# Thresholds


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [None, 16], ids=["any score", "int8-like ties"])
@pytest.mark.parametrize("spread", [0.5, 2, 4], ids=["hard", "fair", "easy"])
def test_no_source_breaks_the_stated_shares(spread: float, levels: int | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sources = np.repeat(["one", "two", "three"], [1000, 100, 41])
    is_fake = rng.random(len(sources)) < 0.5
    moved = np.select([sources == "two", sources == "three"], [1.0, -1.5])
    p_fake = sigmoid(rng.normal(np.where(is_fake, spread, -spread), 1.5) + moved)
    p_fake = p_fake if levels is None else np.round(p_fake * levels) / levels
    chosen = choose_thresholds({"clean": p_fake}, is_fake, sources)
    verdicts = np.array([chosen.verdict(p) for p in p_fake])
    for source in ("one", "two", "three"):
        real, fake = verdicts[(sources == source) & ~is_fake], verdicts[(sources == source) & is_fake]
        if len(real) >= 20:
            assert np.mean(real == "fake") <= FALSE_ALARM_SHARE
        if len(fake) >= 20:
            assert np.mean(fake == "real") <= MISSED_SHARE
    assert chosen.real <= 0.5 <= chosen.fake


@pytest.mark.parametrize(
    ("real", "fake", "lower", "upper"),
    [
        (np.full(100, 0.1), np.full(100, 0.9), 0.5, 0.5),  # nobody near the middle
        (np.full(100, 0.1), np.full(100, 0.3), 0.299, 0.5),  # fakes that look real
        (np.full(100, 0.7), np.full(100, 0.9), 0.5, 0.701),  # real ones that look fake
        (np.linspace(0.01, 1, 100), np.full(100, 0.9), 0.5, 0.951),  # five of the hundred are 5 %
        (np.full(100, 0.1), np.linspace(0.01, 1, 100), 0.159, 0.5),  # fifteen of the hundred are 15 %
        (np.full(19, 0.7), np.full(19, 0.3), 0.5, 0.5),  # too few to have a say
        (np.full(20, 0.7), np.full(20, 0.3), 0.299, 0.701),  # just enough
        (np.full(100, 0.7), np.array([]), 0.5, 0.701),  # a source of one label
        (1 - np.geomspace(1e-4, 1e-2, 100), np.array([]), 0.5, 0.9998767),  # sure of everything: in reach
        (np.repeat([0.7, np.nextafter(0.7, 1)], [95, 5]), np.array([]), 0.5, 0.701),  # no room between them
        (np.repeat([0.6, 0.9], [95, 5]), np.array([]), 0.5, 0.601),  # as much room as there is would shut fakes out
        (np.ones(100), np.zeros(100), -0.001, 1.001),  # sure and wrong: nothing is called anything
    ],
)
def test_thresholds_by_hand(real, fake, lower: float, upper: float) -> None:
    chosen = choose_thresholds(*faces(real, fake))
    assert (chosen.real, chosen.fake) == pytest.approx((lower, upper), abs=1e-7)


def test_the_worst_source_decides() -> None:
    easy, hard = faces(np.full(900, 0.1), np.full(900, 0.9), "easy"), faces(np.full(30, 0.7), np.full(30, 0.3), "hard")
    clean = {"clean": np.concatenate([easy[0]["clean"], hard[0]["clean"]])}
    chosen = choose_thresholds(clean, np.concatenate([easy[1], hard[1]]), easy[2] + hard[2])
    assert (chosen.real, chosen.fake) == pytest.approx((0.299, 0.701))


def test_the_worst_condition_decides() -> None:
    clean, is_fake, sources = faces(np.full(30, 0.1), np.full(30, 0.9))
    blurred, _, _ = faces(np.full(30, 0.7), np.full(30, 0.3))
    chosen = choose_thresholds(clean | {"blur": blurred["clean"]}, is_fake, sources)
    assert (chosen.real, chosen.fake) == pytest.approx((0.299, 0.701))


def test_what_thresholds_were_chosen_for_is_said() -> None:
    clean, is_fake, sources = faces([0.1] * 20, [0.9] * 20)
    words = choose_thresholds(clean | {"JPEG 50": clean["clean"]}, is_fake, sources).chosen_at
    assert f"{FALSE_ALARM_SHARE:.0%} of the real" in words
    assert f"{MISSED_SHARE:.0%} of the fake" in words
    assert words.endswith("(clean, JPEG 50)")
    assert "both 0.5" in choose_thresholds(*faces([0.1] * 19, [0.9] * 19)).chosen_at
