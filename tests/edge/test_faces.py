"""What six points say of a face, and where a turned square lies in the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facetell.edge.faces import Face, Square, largest_face

FRONTAL = ((30, 40), (70, 40), (50, 62), (50, 82), (12, 48), (88, 48))
"""Right eye, left eye, nose, mouth and ears of a face whose box is (0, 0, 100, 100)."""


def face(points=FRONTAL, box=(0.0, 0.0, 100.0, 100.0)) -> Face:
    return Face(box, 0.9, tuple((float(x), float(y)) for x, y in points))


def with_point(index: int, x: float, y: float) -> Face:
    return face((*FRONTAL[:index], (x, y), *FRONTAL[index + 1 :]))


def turned_about(face: Face, degrees: float, centre: tuple[float, float]) -> Face:
    """Return a face whose points are turned clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0 = centre
    points = [(x0 + cos * (x - x0) - sin * (y - y0), y0 + sin * (x - x0) + cos * (y - y0)) for x, y in face.points_xy]
    return Face(face.box_xyxy, face.score, tuple(points))


def test_centre_and_size_are_the_boxs() -> None:
    wide = face(box=(10, 20, 50, 40))
    assert (wide.centre_xy, wide.size_px) == ((30, 30), 40)
    assert face(box=(10, 20, 30, 60)).size_px == 40


@pytest.mark.parametrize("degrees", [0, 10, 25, -45, 90, -90, 135, 179, -179])
def test_roll_is_the_turn_of_the_eyes_clockwise(degrees: float) -> None:
    assert turned_about(face(), degrees, (50, 50)).roll_degrees == pytest.approx(degrees)


def test_a_face_without_points_is_taken_to_be_upright_and_frontal() -> None:
    bare = Face((0, 0, 10, 10), 0.9)
    assert (bare.roll_degrees, bare.is_frontal) == (0, True)


@pytest.mark.parametrize(
    ("seen", "is_frontal"),
    [
        (face(), True),
        (with_point(2, 60, 62), True),  # looks a little aside
        (with_point(2, 73, 62), True),  # three-quarter view: the nose is .57 of the eyes' distance off the middle
        (with_point(2, 76, 62), False),  # profile: .65
        (with_point(2, 24, 62), False),  # to the other side
        (with_point(1, 57, 40), False),  # the eyes are too close to each other
        (with_point(1, 59, 40), True),
        (with_point(2, 50, 38), False),  # the nose is above the eyes
        (with_point(3, 50, 60), False),  # the mouth is above the nose
        (with_point(3, 50, 72), False),  # the mouth is too close to the eyes
        (face(((70, 40), (30, 40), *FRONTAL[2:])), False),  # the eyes are swapped, as upside down
    ],
)
@pytest.mark.parametrize("degrees", [0, 25, -90, 180])
def test_a_frontal_face_has_its_points_in_place_however_it_is_turned(seen: Face, is_frontal: bool, degrees) -> None:
    assert turned_about(seen, degrees, (50, 50)).is_frontal is is_frontal


@pytest.mark.parametrize("points", [((5, 5),) * 6, ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0), (0, 0))])
def test_points_without_extent_are_no_frontal_face(points) -> None:
    assert not face(points).is_frontal
    assert not face(points, box=(5, 5, 5, 5)).is_frontal


def test_scaled() -> None:
    twice = face(box=(-10, 0, 30, 40)).scaled(2)
    assert twice.box_xyxy == (-20, 0, 60, 80)
    assert twice.points_xy[2] == (100, 124)
    assert (twice.score, twice.roll_degrees, twice.is_frontal) == (0.9, 0, face().is_frontal)


def test_largest_face() -> None:
    small, large = Face((0, 0, 10, 10), 0.9), Face((-5, 0, 6, 10), 0.6)
    assert largest_face([small, large]) is large
    assert largest_face([small]) is small


@pytest.mark.parametrize(
    ("degrees", "corners"),
    [
        (0, [(90, 40), (110, 40), (90, 60)]),
        (90, [(110, 40), (110, 60), (90, 40)]),  # clockwise: its upper left corner is at the upper right
        (-90, [(90, 60), (90, 40), (110, 60)]),
        (180, [(110, 60), (90, 60), (110, 40)]),
        (45, [(100, 50 - 200**0.5), (100 + 200**0.5, 50), (100 - 200**0.5, 50)]),
    ],
)
def test_where_a_turned_square_lies(degrees: float, corners: list[tuple[float, float]]) -> None:
    square = Square(100, 50, 20, degrees)
    assert square.place(np.array([[0, 0], [20, 0], [0, 20]])) == pytest.approx(np.array(corners))
    assert square.place(np.array([10, 10])) == pytest.approx([100, 50])
