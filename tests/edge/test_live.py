"""The faces before a camera, look by look: verdicts that hold, the events of a face, and what is drawn and saved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.camera import Camera
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.edge.live import Look, Steady, Watcher, as_line, drawn, in_words, looks, save_fakes
from facetell.edge.results import FaceResult


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("u" * 9, "u" * 9),
        ("f" * 7, "uuuuuff"),
        ("ffffr" + "f" * 6, "u" * 10 + "f"),  # a doubt begins anew
        ("f" * 6 + "rrrrr" + "f", "uuuuuf" + "ffffff"),  # what lasts less than a second does not move it
        ("f" * 6 + "r" * 6, "uuuuuf" + "fffff" + "r"),
        ("frfrfrfrfrfr", "u" * 12),
    ],
)
def test_a_verdict_must_hold_for_a_second_before_it_is_told(said: str, told: str) -> None:
    words = {"u": "uncertain", "f": "fake", "r": "real"}
    steady = Steady()
    shown = []
    for number, letter in enumerate(said):
        before = steady.verdict
        assert steady.update(words[letter], number / 5) == (steady.verdict != before)
        shown.append(steady.verdict)
    assert shown == [words[letter] for letter in told]


def test_a_face_appears_gets_a_verdict_and_leaves(detector: Detector, portrait: np.ndarray) -> None:
    watcher, events = Watcher(detector.verdict), []
    for number in range(20):
        faces, news = watcher.look(number * 0.1, detector.detect(portrait))
        events += news
    assert [face.track for face in faces] == [1]
    _, news = watcher.look(4.0, [])
    events += news
    assert [(event.event, event.track) for event in events] == [("appeared", 1), ("verdict", 1), ("left", 1)]
    assert [event.verdict for event in events] == ["uncertain", "real", "real"]
    assert json.loads(as_line(events[1]))["verdict"] == "real"
    assert "face 1: real 0." in in_words(events[1])


def test_a_face_that_comes_closer_is_judged(detector: Detector) -> None:
    """Ten looks at which it is too small, then as many as a verdict needs, then it turns away."""
    far, near, away = (
        FaceResult((10, 10, 60, 60), 0.9, p_fake, "uncertain", doubt=doubt)
        for p_fake, doubt in ((None, "too_small"), (1.0, None), (0.0, "not_frontal"))
    )
    watcher, events, shown = Watcher(detector.verdict), [], []
    for number, face in enumerate([far] * 10 + [near] * 15 + [away] * 45):
        (face,), news = watcher.look(number * 0.1, [face])
        events += news
        shown.append((face.verdict, face.p_fake, face.doubt))
    assert set(shown[:10]) == {("uncertain", None, "too_small")}
    assert shown[24] == ("fake", 1.0, None)
    assert shown[-1] == ("uncertain", 0.0, "not_frontal")
    assert all(verdict == "uncertain" for verdict, _, doubt in shown if doubt)
    assert [(event.event, event.verdict, event.doubt) for event in events] == [
        ("appeared", "uncertain", "too_small"),
        ("verdict", "fake", None),
        ("verdict", "uncertain", "not_frontal"),
    ]
    assert json.loads(as_line(events[0]))["doubt"] == "too_small"
    assert in_words(events[2]).endswith("face 1: turned away or partly hidden")


def test_a_slow_machine_does_not_take_one_face_for_many(detector: Detector, portrait: np.ndarray) -> None:
    watcher, events = Watcher(detector.verdict), []
    for number in range(6):
        events += watcher.look(number * 1.5, detector.detect(portrait))[1]
    assert [event.event for event in events] == ["appeared", "verdict"]


def test_only_the_frame_in_which_a_face_becomes_fake_is_saved(
    bundle: Bundle, portrait: np.ndarray, tmp_path: Path
) -> None:
    detector = Detector(bundle, threshold=0.0)  # everything is fake
    watcher = Watcher(detector.verdict)
    for number in range(30):
        faces, events = watcher.look(number * 0.1, detector.detect(portrait))
        save_fakes(Look(portrait, faces, events, 10, 20), tmp_path)
    (saved,) = tmp_path.iterdir()
    assert saved.name.endswith("-face-1.jpg")
    assert np.abs(read_image(saved).astype(int) - portrait).mean() < 8


def test_looks_at_a_file_end_with_it(clip: Path, detector: Detector) -> None:
    camera = Camera(str(clip))
    seen = list(looks(camera, detector))
    camera.close()
    *looked, last = seen
    assert looked
    assert {len(look.faces) for look in looked} == {1}
    assert looked[-1].frames_per_s > 0
    assert looked[-1].latency_ms > 0
    assert [event.event for event in last.events] == ["left"]


@pytest.mark.parametrize("image", [None, np.full((240, 320, 3), 90, np.uint8)], ids=["lost", "grey"])
def test_a_look_can_be_drawn(image: np.ndarray | None) -> None:
    picture = drawn(Look(image, [], [], 12, 30))
    assert picture.dtype == np.uint8
    assert (picture > 200).any()  # words
    if image is not None:
        assert (image == 90).all()  # on a copy
