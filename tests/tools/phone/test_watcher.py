"""The phone page's watcher in node says what edge/live.py says of the same faces."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from facetell.edge.live import Watcher
from facetell.edge.results import FaceResult

from .node import needs_node, run

pytestmark = needs_node

LOOKS = """
import { verdictOf } from "./results.js";
import { Watcher } from "./watcher.js";
const watcher = new Watcher((pFake) => verdictOf(pFake, { real: 0.4, fake: 0.6 }));
answer(given.map(([time, faces]) => watcher.look(time * 1000, faces)));
"""

Look = tuple[float, list[dict[str, Any]]]

DOUBTFUL = (
    [(None, "too_small"), (0.9, "not_frontal"), (0.9, "not_frontal")],
    [(None, "too_small"), (0.7, "may_not_be_a_face"), (None, "too_small")],
    [(0.9, "may_not_be_a_face"), (0.8, "may_not_be_a_face")],
    [(0.9, "not_frontal"), (0.1, None), (0.2, None)],
)
"""What a face leaves in its looks, in each quarter of them: probability and doubt, one of these at a time."""


def verdict(p_fake: float) -> str:
    return "fake" if p_fake >= 0.6 else "real" if p_fake <= 0.4 else "uncertain"


def in_javascript(looks: list[Look]) -> list[list[dict[str, Any]]]:
    return run(LOOKS, looks)


def in_python(looks: list[Look]) -> list[list[dict[str, Any]]]:
    watcher = Watcher(verdict)
    said = []
    for time_s, faces in looks:
        found = [FaceResult(tuple(face["box"]), 0.9, face["pFake"], "uncertain", doubt=face["doubt"]) for face in faces]
        shown, _ = watcher.look(time_s, found)
        exact = {track.number: track.p_fake for track in watcher._tracker.tracks}  # what is shown is rounded
        said.append(
            [
                {"track": face.track, "pFake": exact[face.track], "verdict": face.verdict, "doubt": face.doubt}
                for face in shown
            ]
        )
    return said


def face(left: float, p_fake: float | None, doubt: str | None = None) -> dict[str, Any]:
    return {"box": [left, 0.25, left + 0.25, 0.5], "pFake": p_fake, "doubt": doubt}


def golden() -> list[Look]:
    """Three faces, in any order, that move, flicker, change, are doubtful or away, with pauses and slow stretches."""
    random = Random(7)
    looks: list[Look] = []
    time_s = 1.0
    for number in range(600):
        wait = 1 / 32
        if number % 97 == 96:
            wait = random.choice([0.75, 1.5, 4, 60])  # a pause
        elif 300 <= number < 340:
            wait = 1.25  # a slow machine
        time_s += wait
        phase = number // 75 % 3
        faces = [
            face(0.1 + 0.001 * (number % 50), min(max(random.gauss((0.1, 0.9, 0.5)[phase], 0.2), 0), 1)),
            face(0.5 + 0.002 * (number % 30), random.choice([0.02, 0.98]) if phase == 2 else 0.97),
            face(0.85, *random.choice(DOUBTFUL[number // 150])),
        ]
        faces = [one for one in faces if random.random() > 0.1]
        random.shuffle(faces)
        looks.append((time_s, faces))
    return looks


def test_both_watchers_say_the_same() -> None:
    looks = golden()
    ours, pythons = in_javascript(looks), in_python(looks)
    for seen, wanted in zip(ours, pythons, strict=True):
        assert [{name: one[name] for name in ("track", "verdict", "doubt")} for one in seen] == [
            {name: one[name] for name in ("track", "verdict", "doubt")} for one in wanted
        ]
        assert [one["pFake"] for one in seen] == [pytest.approx(one["pFake"], abs=1e-9) for one in wanted]
    assert {one["verdict"] for faces in pythons for one in faces} == {"real", "fake", "uncertain"}
    assert {one["doubt"] for faces in pythons for one in faces} == {
        *(None, "may_not_be_a_face", "too_small", "not_frontal")
    }
    assert max(face["track"] for faces in pythons for face in faces) > 10


def test_a_face_that_no_look_leaves_clear_has_its_doubt_and_is_not_early() -> None:
    looks: list[Look] = [(1 + number / 32, [face(0.3, 0.98, "not_frontal")]) for number in range(64)]
    *_, [last] = in_javascript(looks)
    assert (last["verdict"], last["doubt"], last["isEarly"]) == ("uncertain", "not_frontal", False)


def test_a_face_after_a_pause_begins_anew() -> None:
    looks: list[Look] = [(1 + number / 32, [face(0.3, 0.02)]) for number in range(64)]
    looks.append((60.0, [face(0.3, 0.98)]))
    *_, [before], [after] = in_javascript(looks)
    assert (before["verdict"], before["isEarly"]) == ("real", False)
    assert (after["track"], after["verdict"], after["isEarly"]) == (2, "uncertain", True)


def test_a_face_that_lies_between_is_uncertain_and_not_early() -> None:
    looks: list[Look] = [(1 + number / 32, [face(0.3, 0.5)]) for number in range(8)]
    assert [faces[0]["isEarly"] for faces in in_javascript(looks)] == [True, True, *[False] * 6]
