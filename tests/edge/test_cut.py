"""Which pixels the classifier sees of a face."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facetell.edge.cut import centre, closer, crop_face, cut_square, face_square, resize_face, saved_size_px
from facetell.edge.faces import Box, Square

from ..pictures import turned

SIZE = 224
SURROUND = saved_size_px(SIZE) / SIZE


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def photo(astronaut: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_CUBIC)


def gradient(height: int, width: int) -> np.ndarray:
    """Red is a pixel's x, green its y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)


# Which square


@pytest.mark.parametrize("size_px", [1, 32, 224])
@pytest.mark.parametrize("surround_ratio", [1, 8 / 7, 2])
@pytest.mark.parametrize(
    "box",
    [(20, 30, 60, 80), (0, 0, 100, 90), (-500, -400, 900, 800), (5000, 5000, 5010, 5010), (10, 10, 10, 10)],
    ids=["inside", "whole", "around", "far outside", "empty"],
)
@pytest.mark.parametrize("shape", [(90, 100), (1, 1), (1, 57), (57, 1), (2, 3)], ids=lambda shape: f"{shape}")
@pytest.mark.parametrize("roll_degrees", [0, -50])
def test_a_crop_is_always_a_square_of_the_size_asked(shape, box, surround_ratio, size_px, roll_degrees) -> None:
    image = noise(*shape)
    crop = crop_face(
        image,
        box,
        size_px=size_px,
        margin_ratio=1.3,
        surround_ratio=surround_ratio,
        roll_degrees=roll_degrees,
    )
    assert (crop.shape, crop.dtype) == ((size_px, size_px, 3), np.uint8)
    for channel in range(3):  # real pixels alone: nothing is darker or lighter than the picture
        assert image[..., channel].min() <= crop[..., channel].min() <= crop[..., channel].max()
        assert crop[..., channel].max() <= image[..., channel].max()


@pytest.mark.parametrize("size_px", [1, 7, 32, 224, 256])
def test_a_square_of_the_size_asked_is_cut_out_unchanged(size_px: int) -> None:
    image = noise(400, 500)
    box = (30, 40, 30 + size_px, 40 + size_px)
    crop = crop_face(image, box, size_px=size_px, margin_ratio=1)
    assert (crop == image[40 : 40 + size_px, 30 : 30 + size_px]).all()


@pytest.mark.parametrize(
    ("box", "margin_ratio", "same_as"),
    [
        ((-20, 30, 40, 90), 1, (0, 30, 60, 90)),  # over the left edge
        ((30, -20, 90, 40), 1, (30, 0, 90, 60)),  # over the top
        ((180, 30, 240, 90), 1, (140, 30, 200, 90)),  # over the right edge
        ((30, 80, 90, 140), 1, (30, 60, 90, 120)),  # over the bottom
        ((-20, -20, 40, 40), 1, (0, 0, 60, 60)),  # over a corner
        ((900, 900, 960, 960), 1, (140, 60, 200, 120)),  # far outside
        ((40, 50, 80, 70), 1, (40, 40, 80, 80)),  # as wide as the longer side
        ((50, 40, 70, 80), 1.5, (30, 30, 90, 90)),  # with a margin around the centre
        ((0, 10, 30, 40), 2, (0, 0, 60, 60)),  # a margin that reaches over the edge
        ((20, 10, 180, 100), 1, (40, 0, 160, 120)),  # larger than the picture is high: shrunk
        ((-500, -500, 700, 620), 1, (40, 0, 160, 120)),
    ],
)
def test_the_square_is_moved_into_the_picture(box, margin_ratio, same_as) -> None:
    image = noise(120, 200)
    expected = crop_face(image, same_as, size_px=64, margin_ratio=1)
    assert (crop_face(image, box, size_px=64, margin_ratio=margin_ratio) == expected).all()


@pytest.mark.parametrize("roll_degrees", [0.0, 25.0, 180.0])
@pytest.mark.parametrize(
    ("box", "margin_ratio", "square"),
    [
        ((50, 40, 70, 80), 1.5, (60, 60, 60)),
        ((0, 10, 30, 40), 2, (30, 30, 60)),  # moved
        ((40, 0, 160, 100), 1.5, (100, 60, 120)),  # shrunk
    ],
)
def test_a_square_is_turned_about_its_centre_where_it_lies(box, margin_ratio, square, roll_degrees: float) -> None:
    """Moved and shrunk before it is turned, so that it is as large as the upright face's."""
    found = face_square(noise(120, 200), box, margin_ratio=margin_ratio, roll_degrees=roll_degrees)
    assert found == Square(*square, roll_degrees)


# Which pixels


@pytest.mark.parametrize(
    ("box", "size_px"),
    [
        ((100, 60, 132, 92), 32),  # pixel for pixel
        ((100.25, 60.5, 132.25, 92.5), 32),  # between the pixels
        ((50, 60, 150, 160), 224),  # enlarged
        ((80.3, 70.9, 91.4, 82), 224),  # much enlarged
        ((30, 20, 180, 170), 100),  # one and a half picture pixels for one
        ((20, 30, 180, 190), 80),  # two
        ((7, 5, 242, 240), 32),  # 7.3
        ((0, 0, 256, 256), 32),  # the whole picture, eight
        ((13, 11, 240, 238), 24),  # 9.5
    ],
)
def test_pixels_come_from_where_they_should(box, size_px: int) -> None:
    image = gradient(256, 256)
    crop = crop_face(image, box, size_px=size_px, margin_ratio=1)
    x_min, y_min, x_max, _ = box
    at = (np.arange(size_px) + 0.5) * (x_max - x_min) / size_px - 0.5
    assert np.abs(crop[..., 0] - (x_min + at)[np.newaxis, :]).max() <= 1
    assert np.abs(crop[..., 1] - (y_min + at)[:, np.newaxis]).max() <= 1
    assert (crop[..., 2] == 0).all()


@pytest.mark.parametrize("roll_degrees", [10, -25, 45, 90, -90, 180])
@pytest.mark.parametrize("side", [20.4, 64, 90, 171.5])
def test_a_turned_square_shows_what_lies_there(side: float, roll_degrees: float) -> None:
    x, y, size_px = 130.3, 121.8, 32
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    crop = crop_face(gradient(256, 256), box, size_px=size_px, margin_ratio=1, roll_degrees=roll_degrees)
    down, right = np.mgrid[:size_px, :size_px]
    at = np.stack([right, down], axis=2) + 0.5
    wanted = Square(x, y, side, roll_degrees).place(at * side / size_px) - 0.5
    inside = ((wanted > 0) & (wanted < 255)).all(axis=2)
    assert inside.mean() > 0.8
    assert np.abs(crop[..., :2] - wanted)[inside].max() <= 1.1


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("size_px", [64, 100, 17])
def test_a_square_on_its_side_has_the_pixels_of_the_upright_one(turns: int, size_px: int) -> None:
    image = noise(100, 100)
    upright = crop_face(image, (0, 0, 100, 100), size_px=size_px, margin_ratio=1)
    lying = np.rot90(image, -turns).copy()  # clockwise
    crop = crop_face(lying, (0, 0, 100, 100), size_px=size_px, margin_ratio=1, roll_degrees=90 * turns)
    difference = np.abs(crop.astype(int) - upright)
    assert difference.mean() < 2  # OpenCV rounds positions to 1/32 of a pixel
    assert size_px != 100 or difference.max() == 0


@pytest.mark.parametrize("degrees", [10, -25, 45, 90, 135, 180])
@pytest.mark.parametrize(("size_px", "margin_ratio"), [(32, 1.0), (64, 1.5), (224, 1.5)])
def test_the_crop_of_a_turned_face_is_the_upright_one(size_px, margin_ratio, degrees: float, astronaut) -> None:
    box = (177, 83, 273, 179)
    image, matrix = turned(astronaut, degrees)
    x, y = matrix @ [225, 131, 1]
    upright, crop = (
        crop_face(picture, at, size_px=size_px, margin_ratio=margin_ratio, roll_degrees=roll).astype(int)
        for picture, at, roll in ((astronaut, box, 0), (image, (x - 48, y - 48, x + 48, y + 48), degrees))
    )
    assert np.abs(crop - upright).mean() < 5
    not_turned = crop_face(image, (x - 48, y - 48, x + 48, y + 48), size_px=size_px, margin_ratio=margin_ratio)
    assert np.abs(not_turned - upright).mean() > 20


def test_corners_that_leave_the_picture_are_mirrored() -> None:
    crop = crop_face(gradient(64, 64), (0, 0, 64, 64), size_px=64, margin_ratio=1, roll_degrees=45)
    tip = 32 * (math.sqrt(2) - 1)  # how far the corners stand out
    assert crop[0, 0].tolist() == pytest.approx([32, tip, 0], abs=2)  # the upper left one, above the picture
    assert crop[-1, -1].tolist() == pytest.approx([32, 63 - tip, 0], abs=2)


@pytest.mark.parametrize("period_px", [2, 4])
def test_shrinking_averages_instead_of_picking(period_px: int) -> None:
    stripes = np.zeros((960, 960, 3), np.uint8)
    stripes[:, np.arange(960) % period_px < period_px // 2] = 255
    crop = crop_face(stripes, (0, 0, 960, 960), size_px=96, margin_ratio=1)
    assert np.abs(crop.astype(int) - 127.5).max() <= 52  # picking gives 0 and 255


@pytest.mark.parametrize("side", [1, 20, 99.7, 223, 224, 225, 300, 447, 448, 449, 671.9, 672, 1120, 1792, 2000, 2016])
@pytest.mark.parametrize("is_whole_picture", [False, True], ids=["inside", "whole"])
@pytest.mark.parametrize(("roll_degrees", "most"), [(0, 1), (33, 3)])
def test_the_centre_of_the_surrounding_crop_is_the_crop(
    roll_degrees: float, most: int, is_whole_picture: bool, side: float, astronaut: np.ndarray
) -> None:
    """Whatever the scale, and also where the surroundings are mirrored on all sides."""
    image = photo(astronaut, max(1, int(side)) if is_whole_picture else 2400)
    x, y = (side / 2, side / 2) if is_whole_picture else (1103.3, 1060.8)
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    stored_px = saved_size_px(SIZE)

    def difference(image: np.ndarray) -> np.ndarray:
        crop = crop_face(image, box, size_px=SIZE, margin_ratio=1, roll_degrees=roll_degrees)
        around = crop_face(
            image, box, size_px=stored_px, margin_ratio=1, roll_degrees=roll_degrees, surround_ratio=SURROUND
        )
        assert around.shape == (stored_px, stored_px, 3)
        return np.abs(centre(around, SIZE).astype(int) - crop)

    assert difference(cv2.GaussianBlur(image, (0, 0), max(1, side / 100))).max() <= most
    # OpenCV rounds positions to 1/32 of a pixel, which shows here and there where a photo is sharp.
    assert difference(image).mean() <= 0.1


def test_surroundings_are_mirrored_beyond_the_edge() -> None:
    image = gradient(64, 64)
    crop = crop_face(image, (0, 0, 64, 64), size_px=128, margin_ratio=1, surround_ratio=2)
    mirrored = np.pad(np.arange(64), 32, mode="reflect")
    assert (crop[40, :, 0] == mirrored).all()
    assert (crop[:, 40, 1] == mirrored).all()


# Crops that are stored


def test_a_stored_crop_is_not_changed_by_resizing() -> None:
    image = noise(256, 256)
    assert (resize_face(image, size_px=256) == image).all()


@pytest.mark.parametrize(("shape", "x", "y"), [((60, 100), 20, 0), ((100, 60), 0, 20), ((61, 100), 19.5, 0)])
def test_resizing_takes_the_centre_square(shape: tuple[int, int], x: float, y: float) -> None:
    side = min(shape)
    expected = crop_face(noise(*shape), (x, y, x + side, y + side), size_px=256, margin_ratio=1)
    assert (resize_face(noise(*shape), size_px=256) == expected).all()


@pytest.mark.parametrize(("input_px", "saved_px"), [(224, 256), (112, 128), (160, 182), (192, 220), (32, 36), (37, 43)])
def test_stored_crops_are_a_seventh_larger(input_px: int, saved_px: int) -> None:
    assert saved_size_px(input_px) == saved_px
    assert (saved_px - input_px) % 2 == 0  # or the centre would stand half a pixel beside a plain crop


def test_centre() -> None:
    image = noise(256, 256)
    assert (centre(image, 224) == image[16:240, 16:240]).all()
    assert centre(image, 256) is image or (centre(image, 256) == image).all()


# Closer to the middle


@pytest.mark.parametrize("ratio", [0.0, 0.8, 1.0])
def test_what_is_small_enough_is_left_as_it_is(ratio: float) -> None:
    image = noise(64, 64)
    assert closer(image, ratio) is image


@pytest.mark.parametrize("ratio", [1.1, 1.5, 3.0])
def test_closer_shows_the_middle_enlarged(ratio: float) -> None:
    seen, whole = closer(gradient(64, 64), ratio)[32].astype(float), gradient(64, 64)[32].astype(float)
    assert seen.shape == (64, 3)
    middle = (64 - 1) / 2
    for x in (0, 17, 31, 63):
        assert seen[x, 0] == pytest.approx(np.interp(middle + (x - middle) / ratio, range(64), whole[:, 0]), abs=1)


@pytest.mark.parametrize(
    ("box", "margin_ratio", "shown_ratio", "shows"),
    [
        ((80, 80, 120, 120), 1.5, 1.3, 52),  # of 60
        ((80, 80, 120, 100), 1.5, 1.3, 52),  # the longer side counts
        ((80, 80, 120, 120), 1.2, 1.3, 48),  # no more than is cut
        ((60, 60, 140, 140), 3.0, 1.3, 104),  # of 200, all that the picture has
        ((20, 20, 180, 180), 1.5, 1.3, 200),
        ((180, 80, 200, 100), 1.5, 1.3, 26),
    ],
)
def test_a_face_is_shown_as_widely_as_asked_or_as_it_is_cut(
    box: Box, margin_ratio: float, shown_ratio: float, shows: float
) -> None:
    image = cv2.GaussianBlur(noise(200, 200), (0, 0), 4)
    square = face_square(image, box, margin_ratio=margin_ratio)
    crop = crop_face(image, box, size_px=SIZE, margin_ratio=margin_ratio, shown_ratio=shown_ratio)
    middle = cut_square(image, replace(square, side_px=shows), size_px=SIZE)
    assert np.abs(crop.astype(int) - middle).mean() < 1.5
