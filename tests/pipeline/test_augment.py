import cv2
import numpy as np
import pytest

from facetell.pipeline.augment import augment

from ..pictures import pattern

SEEDS = range(40)


def changed(seed: int, crop: np.ndarray | None = None, size_px: int = 224) -> np.ndarray:
    return augment(pattern(1, 256) if crop is None else crop, size_px, np.random.default_rng(seed))


@pytest.mark.parametrize(("crop_px", "size_px"), [(256, 224), (110, 96), (37, 32), (224, 224)])
def test_an_augmented_crop_is_a_picture_of_the_input_size(crop_px: int, size_px: int) -> None:
    for seed in SEEDS:
        picture = changed(seed, pattern(2, crop_px), size_px)
        assert picture.shape == (size_px, size_px, 3)
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous


def test_the_random_numbers_alone_decide() -> None:
    for seed in SEEDS:
        assert np.array_equal(changed(seed), changed(seed))


def test_each_draw_looks_different() -> None:
    assert len({changed(seed).tobytes() for seed in SEEDS}) == len(SEEDS)


def test_the_crop_itself_is_not_touched() -> None:
    crop = pattern(1, 256)
    for seed in SEEDS:
        changed(seed, crop)
    assert np.array_equal(crop, pattern(1, 256))


def test_real_and_fake_are_changed_alike() -> None:
    """What is drawn depends on the seed alone: after any two pictures, the generator stands at the same place."""
    for seed in SEEDS:
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        augment(pattern(1, 256), 224, one)
        augment(np.zeros((256, 256, 3), np.uint8), 224, other)
        assert one.random() == other.random()


@pytest.mark.parametrize("closer", [1.0, 1.5, 3.0])
def test_closer_enlarges_and_changes_nothing_else(closer: float) -> None:
    """A disc seen closer is larger by that factor, and is changed as it is when it is not."""
    disc = cv2.circle(np.zeros((256, 256, 3), np.uint8), (128, 128), 24, (255, 255, 255), -1)
    seen, wanted = [], []
    for seed in SEEDS:
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        seen.append(augment(disc, 224, one, closer=closer) > 128)
        wanted.append(augment(disc, 224, other) > 128)
        assert one.random() == other.random()
    areas = np.mean(seen, axis=(1, 2, 3)) / np.mean(wanted, axis=(1, 2, 3))
    assert np.median(areas) == pytest.approx(closer**2, rel=0.05)


def test_an_augmented_crop_still_shows_the_same() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    for seed in SEEDS:
        assert abs(changed(seed, grey).mean() - 128) < 45
        assert changed(seed, grey).std() < 20


def test_half_of_the_crops_are_mirrored() -> None:
    left_is_dark = np.zeros((256, 256, 3), np.uint8)
    left_is_dark[:, 128:] = 200
    mirrored = sum(
        picture[:, :112].mean() > picture[:, 112:].mean()
        for picture in (changed(seed, left_is_dark) for seed in range(200))
    )
    assert 70 <= mirrored <= 130
