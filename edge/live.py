"""Faces in front of a camera: verdicts that do not flicker, and what happens to each face."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from .calibration import Verdict
from .camera import Camera, Frame
from .detector import Detector
from .draw import draw_faces, draw_line
from .faces import Box
from .images import write_image
from .results import DOUBTS, Doubt, FaceResult
from .tracks import MAX_GAP_S, Track, Tracker

_KEEP = 30  # sightings that a face's score is the mean of
_MIN_SIGHTINGS = 3  # before which nothing but uncertain is said
_STEADY_S = 1.0  # how long a new verdict must hold, at each of at least so many looks
_AVERAGED = 0.9  # how much of the shown rates is what they were before
_WAIT_S = 0.5
_MISSED_LOOKS = 2.5  # that a face may be away for on a machine that needs long for each
_FROZEN_S = 2.0  # how old the newest frame may be before it says nothing of what is there now


@dataclass(frozen=True, kw_only=True)
class LiveFace(FaceResult):
    """A face as it is shown: its place in the newest frame, with smoothed p_fake, steady verdict and doubt."""

    track: int
    """Number of the face, from 1."""


@dataclass(frozen=True)
class Event:
    """A face that appeared, changed its verdict or left."""

    time: str
    """UTC, ISO 8601."""
    event: str
    """appeared, verdict or left."""
    track: int
    verdict: Verdict
    p_fake: float | None
    box_xyxy: Box
    doubt: Doubt | None


@dataclass(frozen=True)
class Look:
    """One look at the newest frame."""

    image: np.ndarray | None
    """(H, W, 3) uint8 RGB, as the camera gave it; None while it gives none."""
    faces: list[LiveFace]
    events: list[Event]
    frames_per_s: float
    """Looked at."""
    latency_ms: float
    """From the frame's arrival to its verdicts."""


class Steady:
    """The verdict on one track: a new one must hold for a second before it is told."""

    def __init__(self) -> None:
        """Begin with uncertain."""
        self.verdict: Verdict = "uncertain"
        self._candidate: Verdict = "uncertain"
        self._since_s, self._looks = 0.0, 0

    def update(self, verdict: Verdict, time_s: float) -> bool:
        """Take the verdict of one look and return whether the one that is told has changed."""
        if verdict != self._candidate:
            self._candidate, self._since_s, self._looks = verdict, time_s, 0
        self._looks += 1
        if verdict == self.verdict or self._looks < _MIN_SIGHTINGS or time_s - self._since_s < _STEADY_S:
            return False
        self.verdict = verdict
        return True


class Watcher:
    """Looks at frames and remembers the faces in them."""

    def __init__(self, verdict: Callable[[float], Verdict]) -> None:
        """Begin without faces; verdict is a detector's."""
        self._verdict = verdict
        self._tracker = Tracker(keep=_KEEP)
        self._steady: dict[Track, Steady] = {}
        self._looked_s, self._interval_s = math.inf, 0.0

    def look(self, time_s: float, found: list[FaceResult]) -> tuple[list[LiveFace], list[Event]]:
        """Return the faces found in a later frame as they are shown, and what changed."""
        events: list[Event] = []
        faces: list[LiveFace] = []
        interval_s, self._looked_s = time_s - self._looked_s, time_s
        # As long as looks took before this one: a pause is no slow machine.
        self._tracker.max_gap_s = max(MAX_GAP_S, _MISSED_LOOKS * (self._interval_s or interval_s))
        self._interval_s = max(interval_s, 0.0)
        for track, face in zip(self._tracker.update(time_s, found), found, strict=True):
            is_new = track not in self._steady
            steady = self._steady.setdefault(track, Steady())
            changed = steady.update(self._verdict_on(track), time_s)
            faces.append(_shown(track, face, steady.verdict))
            if is_new or changed:
                events.append(_event("appeared" if is_new else "verdict", faces[-1]))
        return faces, events + self.leave(time_s)

    def _verdict_on(self, track: Track) -> Verdict:
        if track.p_fake is None or track.doubt or len(track.counted) < _MIN_SIGHTINGS:
            return "uncertain"
        return self._verdict(track.p_fake)

    def leave(self, time_s: float) -> list[Event]:
        """Return which faces have been away for so long that they are gone."""
        self._tracker.forget(time_s)
        gone = [track for track in self._steady if track not in self._tracker.tracks]
        events = []
        for track in gone:
            face = _shown(track, track.sightings[-1].face, self._steady.pop(track).verdict)
            events.append(_event("left", face))
        return events


def looks(camera: Camera, detector: Detector, stopped: Callable[[], bool] = lambda: False) -> Iterator[Look]:
    """Yield a look at the newest frame, again and again, until stopped or a file ends; others are passed over.

    While nothing new comes, looks without a picture come now and then; one in which all faces leave is the last.
    """
    watcher = Watcher(detector.verdict)
    after, per_s, latency_ms = 0, 0.0, 0.0
    taken_at = looked_at = time.monotonic()
    while not stopped():
        frame: Frame | None = camera.newest(after, _WAIT_S)
        if frame is None:
            if camera.ended:
                break
            if camera.lost or time.monotonic() - taken_at > _FROZEN_S:
                yield Look(None, [], watcher.leave(time.monotonic()), 0.0, 0.0)
            continue
        after, taken_at = frame.number, frame.time_s
        faces, events = watcher.look(frame.time_s, detector.detect(frame.image))
        now = time.monotonic()
        per_s = _averaged(per_s, 1 / max(now - looked_at, 1e-6))
        latency_ms = _averaged(latency_ms, (now - frame.time_s) * 1000)
        looked_at = now
        yield Look(frame.image, faces, events, per_s, latency_ms)
    yield Look(None, [], watcher.leave(math.inf), 0.0, 0.0)


def drawn(look: Look) -> np.ndarray:
    """Return the picture of a look with its faces framed and the rates below, (H, W, 3) uint8 RGB."""
    if look.image is None:
        image = np.zeros((360, 640, 3), np.uint8)
        draw_line(image, "the camera gives no picture; waiting for it to come back")
        return image
    image = look.image.copy()
    draw_faces(image, look.faces)
    draw_line(image, f"{look.frames_per_s:.0f} frames/s, {look.latency_ms:.0f} ms; evidence, not proof")
    return image


def save_fakes(look: Look, folder: Path) -> None:
    """Save the frame, as the camera gave it, in which a face's verdict became fake.

    Raises SourceError where it cannot be written.
    """
    for event in look.events:
        if event.event == "verdict" and event.verdict == "fake" and look.image is not None:
            name = f"{event.time.replace(':', '-')}-face-{event.track}.jpg"
            write_image(look.image, folder / name)


def as_line(event: Event) -> str:
    """Return an event as a line of JSON."""
    return json.dumps(asdict(event))


def in_words(event: Event) -> str:
    """Return an event as a line for people, in local time."""
    when = datetime.fromisoformat(event.time).astimezone().strftime("%H:%M:%S")
    said = DOUBTS[event.doubt] if event.doubt else f"{event.verdict} {event.p_fake:.2f}"
    return f"{when}  face {event.track}: {said if event.event == 'verdict' else event.event}"


def _shown(track: Track, face: FaceResult, verdict: Verdict) -> LiveFace:
    return LiveFace(
        box_xyxy=face.box_xyxy,
        score=face.score,
        p_fake=None if track.p_fake is None else round(track.p_fake, 4),
        verdict="uncertain" if track.doubt else verdict,
        roll_degrees=face.roll_degrees,
        doubt=track.doubt,
        track=track.number,
    )


def _event(event: str, face: LiveFace) -> Event:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return Event(now, event, face.track, face.verdict, face.p_fake, face.box_xyxy, face.doubt)


def _averaged(before: float, now: float) -> float:
    return now if not before else before * _AVERAGED + now * (1 - _AVERAGED)
