import numpy as np
import pytest

from facetell.edge.images import read_image
from facetell.pipeline.blend import self_blend

from ..pictures import SAMPLES, pattern

SEEDS = range(60)


def blended(seed: int, crop: np.ndarray, face_px: float = 224) -> np.ndarray:
    return self_blend(crop, face_px, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return read_image(SAMPLES / "real_astronaut.jpg")[3:259, 97:353]


def test_a_self_blend_is_a_picture_like_its_crop(portrait: np.ndarray) -> None:
    before = portrait.copy()
    for seed in SEEDS:
        fake = blended(seed, portrait)
        assert (fake.shape, fake.dtype) == (portrait.shape, np.uint8)
        assert np.corrcoef(fake.ravel(), portrait.ravel())[0, 1] > 0.8
    assert np.array_equal(portrait, before)


def test_the_random_numbers_alone_decide(portrait: np.ndarray) -> None:
    assert np.array_equal(blended(1, portrait), blended(1, portrait))
    assert len({blended(seed, portrait).tobytes() for seed in SEEDS}) == len(SEEDS)


def test_inside_and_outside_are_changed_otherwise() -> None:
    """On a grey picture a whole-picture change would be even; a blend whose colours differ leaves an outline."""
    grey = np.full((256, 256, 3), 128, np.uint8)
    spread = [np.ptp(blended(seed, grey).astype(int).mean(axis=2)) for seed in SEEDS]
    assert np.mean(np.array(spread) > 2) > 0.45


@pytest.mark.parametrize("face_px", [64, 128, 224])
def test_what_is_blended_lies_in_the_face(face_px: int) -> None:
    """The corners are of one picture and the middle, sometimes, of both; beyond the face nothing is joined."""
    grey = np.full((256, 256, 3), 128, np.uint8)
    rim = (256 - face_px) // 4
    for seed in SEEDS:
        fake = blended(seed, grey, face_px).astype(int)
        corners = np.concatenate([fake[:rim, :rim].reshape(-1, 3), fake[-rim:, -rim:].reshape(-1, 3)])
        assert np.ptp(corners, axis=0).max() <= 1


def test_small_crops_work_too() -> None:
    for seed in SEEDS:
        assert blended(seed, pattern(1, 37), 32).shape == (37, 37, 3)
