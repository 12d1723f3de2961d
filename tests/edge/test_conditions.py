import cv2
import numpy as np
import pytest

from facetell.edge.conditions import CONDITIONS, THRESHOLD_CONDITIONS, jpeg, rescale, variations
from facetell.edge.cut import closer, cut_square
from facetell.edge.faces import Square

from ..pictures import pattern


def test_the_conditions_are_what_happens_to_pictures() -> None:
    assert list(CONDITIONS) == ["clean", "JPEG 50", "half size", "blur", "social media"]
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(CONDITIONS["clean"](picture), picture)
    assert set(THRESHOLD_CONDITIONS) < set(CONDITIONS)
    for name in list(CONDITIONS)[1:]:
        assert CONDITIONS[name](picture).shape == picture.shape
        assert not np.array_equal(CONDITIONS[name](picture), picture)


@pytest.mark.parametrize("shape", [(64, 64, 3), (50, 70, 3), (1, 1, 3)])
@pytest.mark.parametrize("quality", [1, 50, 100])
def test_jpeg_keeps_shape_and_type(shape: tuple[int, ...], quality: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    saved = jpeg(picture, quality)
    assert (saved.shape, saved.dtype) == (shape, np.uint8)


def test_jpeg_loses_more_at_lower_quality_and_keeps_the_order_of_colours() -> None:
    picture = pattern(3)
    losses = [np.abs(jpeg(picture, quality).astype(int) - picture).mean() for quality in (100, 75, 50, 10)]
    assert losses == sorted(losses)
    assert losses[0] < 3
    red = np.full((32, 32, 3), (200, 30, 30), np.uint8)
    assert np.abs(jpeg(red, 90).astype(int) - red).max() < 6


@pytest.mark.parametrize("shape", [(64, 64, 3), (50, 71, 3), (3, 3, 3)])
@pytest.mark.parametrize("ratio", [0.01, 0.35, 0.5, 0.9])
def test_rescale_keeps_shape_type_and_brightness(shape: tuple[int, ...], ratio: float) -> None:
    flat = np.full(shape, 77, np.uint8)
    again = rescale(flat, ratio)
    assert (again.shape, again.dtype) == (shape, np.uint8)
    assert np.array_equal(again, flat)


def test_rescale_to_half_averages_four_pixels() -> None:
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 200
    picture = np.repeat(checkers[:, :, None], 3, axis=2).astype(np.uint8)
    assert np.array_equal(rescale(picture, 0.5), np.full_like(picture, 100))


@pytest.mark.parametrize(
    "square",
    [Square(200, 180, 224), Square(112, 112, 224), Square(150.5, 99.25, 180.5), Square(200, 180, 224, -31.0)],
    ids=["inside", "corner", "odd", "turned"],
)
@pytest.mark.parametrize("ratio", [0.9, 1.15])
def test_variations_show_the_same_a_little_otherwise(square: Square, ratio: float) -> None:
    image = cv2.GaussianBlur(pattern(4, 400), (0, 0), 3)
    whole = cut_square(image, square, size_px=224)
    seen = closer(whole, ratio)
    mirrored, saved, upper_left, lower_right = variations(image, seen, square, ratio)
    assert np.array_equal(mirrored, seen[:, ::-1])
    assert np.array_equal(saved, jpeg(seen, 75))
    # What they show stands in the square, from its corner on.
    for view, corner in ((upper_left, 0), (lower_right, round(0.05 * 224))):
        part = cut_square(whole, Square(corner + 0.475 * 224, corner + 0.475 * 224, 0.95 * 224), size_px=224)
        part = closer(part, ratio)
        assert np.abs(view[8:-8, 8:-8].astype(int) - part[8:-8, 8:-8]).mean() < 2
        assert np.abs(view.astype(int) - seen).mean() > 4
    assert all(view.shape == (224, 224, 3) for view in (mirrored, saved, upper_left, lower_right))
