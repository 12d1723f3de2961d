"""Which faces of one frame were in the frames before it."""

from __future__ import annotations

import pytest

from facetell.edge.faces import Box
from facetell.edge.results import Doubt, FaceResult
from facetell.edge.tracks import Tracker

LEFT, RIGHT, FAR = (0.0, 0.0, 100.0, 100.0), (300.0, 0.0, 400.0, 100.0), (1000.0, 1000.0, 1050.0, 1050.0)


def face(box_xyxy: Box, p_fake: float = 0.5, score: float = 0.9) -> FaceResult:
    return FaceResult(box_xyxy, score, p_fake, "uncertain")


def moved(box: Box, x: float = 0, y: float = 0) -> Box:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


@pytest.mark.parametrize(
    ("frames", "numbers"),
    [
        ([[], [LEFT], []], [[], [1], []]),
        ([[LEFT], [LEFT], [LEFT]], [[1], [1], [1]]),
        ([[LEFT, RIGHT], [RIGHT, LEFT]], [[1, 2], [2, 1]]),
        ([[LEFT], [moved(LEFT, 30)], [moved(LEFT, 60)], [moved(LEFT, 90)]], [[1], [1], [1], [1]]),
        ([[LEFT], [moved(LEFT, 95)]], [[1], [2]]),
        ([[LEFT], [FAR]], [[1], [2]]),
        ([[LEFT], [LEFT, moved(LEFT, 20)]], [[1], [1, 2]]),  # the nearer goes on, the other is new
        ([[LEFT], [], [LEFT]], [[1], [], [1]]),
        ([[LEFT], [], [], [], [], [], [LEFT]], [[1], [], [], [], [], [], [2]]),  # away for more than a second
        ([[(0.0, 0.0, 0.0, 0.0)], [(0.0, 0.0, 0.0, 0.0)]], [[1], [2]]),
    ],
)
def test_numbers_of_tracks(frames: list[list[Box]], numbers: list[list[int]]) -> None:
    tracker = Tracker()
    found = [
        [track.number for track in tracker.update(number * 0.2, map(face, boxes))]
        for number, boxes in enumerate(frames)
    ]
    assert found == numbers


@pytest.mark.parametrize(
    ("scores", "mean"),
    [
        ([0.3], 0.3),
        ([0.2, 0.4], 0.3),
        ([0.2, 0.3, 0.7], 0.4),
        ([0.1, 0.2, 0.4, 1.0], 0.3),  # the lowest and the highest quarter do not count
        ([1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0], 0.5),
        ([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.0, 0.0], 0.9 * 4 / 4),
    ],
)
def test_a_few_odd_frames_do_not_move_the_score(scores: list[float], mean: float) -> None:
    tracker = Tracker()
    for number, p_fake in enumerate(scores):
        tracker.update(number * 0.1, [face(LEFT, p_fake)])
    assert tracker.tracks[0].p_fake == pytest.approx(mean)


SMALL, PUPPET, PROFILE = (None, "too_small"), (0.9, "may_not_be_a_face"), (0.7, "not_frontal")


@pytest.mark.parametrize(
    ("sightings", "doubt", "p_fake", "best_s"),
    [
        ([(0.2, None), (0.4, None)], None, 0.3, 0),
        ([PROFILE, (0.2, None), SMALL, PROFILE], None, 0.2, 1),  # those without doubt count, be they few
        ([SMALL, SMALL, PROFILE], "too_small", None, 0),
        ([SMALL, PROFILE, PROFILE], "not_frontal", 0.7, 1),
        ([PROFILE, PUPPET, PUPPET], "may_not_be_a_face", 0.9, 1),
    ],
)
def test_doubtful_sightings_count_only_where_there_are_no_others(
    sightings: list[tuple[float | None, Doubt | None]], doubt: Doubt | None, p_fake: float | None, best_s: float
) -> None:
    tracker = Tracker()
    for time_s, (known, why) in enumerate(sightings):
        tracker.update(time_s, [FaceResult(LEFT, 0.9 - time_s / 100, known, "uncertain", doubt=why)])
    (track,) = tracker.tracks
    assert (track.doubt, track.p_fake and round(track.p_fake, 6), track.best.time_s) == (doubt, p_fake, best_s)


def test_only_the_last_sightings_are_kept_where_asked() -> None:
    tracker = Tracker(keep=3)
    for number in range(10):
        tracker.update(number * 0.1, [face(LEFT, number / 10)])
    assert tracker.tracks[0].p_fake == pytest.approx(0.8)


def test_the_best_sighting_is_where_the_finder_was_surest() -> None:
    tracker = Tracker()
    for number, score in enumerate([0.6, 0.9, 0.7]):
        tracker.update(number * 0.1, [face(LEFT, score=score)])
    assert tracker.tracks[0].best.time_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("time_s", "x_min"), [(0.9, None), (1.0, 0), (1.5, 10), (2.0, 20), (2.5, None), (4.0, 20), (5.0, None)]
)
def test_between_two_sightings_the_box_moves_along(time_s: float, x_min: float | None) -> None:
    tracker = Tracker()
    tracker.update(1.0, [face(LEFT)])
    (track,) = tracker.update(2.0, [face(moved(LEFT, 20))])
    track.sightings.extend(tracker.update(4.0, [face(moved(LEFT, 20))])[0].sightings)
    box = track.box_at(time_s)
    assert box == (None if x_min is None else pytest.approx(moved(LEFT, x_min)))
