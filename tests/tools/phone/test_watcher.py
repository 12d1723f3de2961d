"""The phone page's watcher in node says what edge/live.py says of the same faces."""

from __future__ import annotations

import json
import shutil
import subprocess
from random import Random
from typing import Any

import pytest

from facetell.edge.live import Watcher
from facetell.edge.results import FaceResult
from facetell.tools.phone.site import SITE

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

WATCHER = SITE.parent / "app" / "src" / "watcher.js"
LOOKS = f"""
import {{ Watcher }} from {json.dumps(WATCHER.as_uri())};
const verdict = (pFake) => (pFake >= 0.6 ? "fake" : pFake <= 0.4 ? "real" : "uncertain");
let given = "";
for await (const piece of process.stdin) given += piece;
const watcher = new Watcher(verdict);
console.log(JSON.stringify(JSON.parse(given).map(([time, faces]) => watcher.look(time * 1000, faces))));
"""

Look = tuple[float, list[dict[str, Any]]]


def verdict(p_fake: float) -> str:
    return "fake" if p_fake >= 0.6 else "real" if p_fake <= 0.4 else "uncertain"


def in_javascript(looks: list[Look]) -> list[list[dict[str, Any]]]:
    command = ["node", "--input-type=module", "--eval", LOOKS]
    done = subprocess.run(command, input=json.dumps(looks), capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def in_python(looks: list[Look]) -> list[list[dict[str, Any]]]:
    watcher = Watcher(verdict)
    said = []
    for time_s, faces in looks:
        found = [FaceResult(tuple(face["box"]), 0.9, face["pFake"], verdict(face["pFake"])) for face in faces]
        shown, _ = watcher.look(time_s, found)
        exact = {track.number: track.p_fake for track in watcher._tracker.tracks}  # what is shown is rounded
        said.append([{"track": face.track, "pFake": exact[face.track], "verdict": face.verdict} for face in shown])
    return said


def face(left: float, p_fake: float) -> dict[str, Any]:
    return {"box": [left, 0.25, left + 0.25, 0.5], "pFake": p_fake}


def golden() -> list[Look]:
    """Two faces, in either order, that move, flicker, change and are away, with pauses and slow stretches."""
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
        ]
        faces = [one for one in faces if random.random() > 0.1]
        looks.append((time_s, faces if random.random() < 0.5 else faces[::-1]))
    return looks


def test_both_watchers_say_the_same() -> None:
    looks = golden()
    ours, pythons = in_javascript(looks), in_python(looks)
    for seen, wanted in zip(ours, pythons, strict=True):
        same = [{"track": face["track"], "verdict": face["verdict"]} for face in seen]
        assert same == [{"track": face["track"], "verdict": face["verdict"]} for face in wanted]
        assert [face["pFake"] for face in seen] == pytest.approx([face["pFake"] for face in wanted], abs=1e-9)
    assert {face["verdict"] for faces in pythons for face in faces} == {"real", "fake", "uncertain"}
    assert max(face["track"] for faces in pythons for face in faces) > 10


def test_a_face_after_a_pause_begins_anew() -> None:
    looks: list[Look] = [(1 + number / 32, [face(0.3, 0.02)]) for number in range(64)]
    looks.append((60.0, [face(0.3, 0.98)]))
    *_, [before], [after] = in_javascript(looks)
    assert (before["verdict"], before["isEarly"]) == ("real", False)
    assert (after["track"], after["verdict"], after["isEarly"]) == (2, "uncertain", True)


def test_a_face_that_lies_between_is_uncertain_and_not_early() -> None:
    looks: list[Look] = [(1 + number / 32, [face(0.3, 0.5)]) for number in range(8)]
    assert [faces[0]["isEarly"] for faces in in_javascript(looks)] == [True, True, *[False] * 6]
