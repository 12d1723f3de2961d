"""The same face from frame to frame."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from .faces import Box
from .results import Doubt, FaceResult

_MIN_IOU = 0.2  # of two boxes in sampled frames, between which a face may have moved
MAX_GAP_S = 1.0
"""A face that was away for longer is another one, where frames are looked at often enough."""


@dataclass(frozen=True)
class Sighting:
    """A face in one frame."""

    time_s: float
    face: FaceResult


class Track:
    """One face over some frames."""

    def __init__(self, number: int, keep: int | None, max_gap_s: float) -> None:
        """Number it from 1; remember the last keep sightings, or all, no two further apart than max_gap_s."""
        self.number = number
        self.max_gap_s = max_gap_s
        self.sightings: list[Sighting] = []
        self._keep = keep

    def add(self, time_s: float, face: FaceResult) -> None:
        """Add a later sighting."""
        self.sightings.append(Sighting(time_s, face))
        if self._keep:
            del self.sightings[: -self._keep]

    @property
    def doubt(self) -> Doubt | None:
        """None where there is a sighting without doubt, else the doubt that most have."""
        doubts: Counter[Doubt | None] = Counter(sighting.face.doubt for sighting in self.sightings)
        return None if None in doubts else doubts.most_common(1)[0][0]

    @property
    def counted(self) -> list[Sighting]:
        """The sightings that decide about the face: those without doubt, or with the track's."""
        doubt = self.doubt
        return [sighting for sighting in self.sightings if sighting.face.doubt == doubt]

    @property
    def p_fake(self) -> float | None:
        """The interquartile mean over the sightings that count, so that a few odd frames do not move it."""
        scores = np.sort([sighting.face.p_fake for sighting in self.counted if sighting.face.p_fake is not None])
        cut = len(scores) // 4
        return float(scores[cut : len(scores) - cut].mean()) if len(scores) else None

    @property
    def best(self) -> Sighting:
        """The sighting that counts in which the finder was surest of a face."""
        return max(self.counted, key=lambda sighting: sighting.face.score)

    def box_at(self, time_s: float) -> Box | None:
        """Return the box between the sightings around a time, None where there are none near it."""
        before = bisect_right(self.sightings, time_s, key=attrgetter("time_s")) - 1
        after = bisect_left(self.sightings, time_s, key=attrgetter("time_s"))
        if before < 0 or after == len(self.sightings):
            return None
        first, second = self.sightings[before], self.sightings[after]
        if second.time_s - first.time_s > self.max_gap_s:
            return None
        share = (time_s - first.time_s) / max(second.time_s - first.time_s, 1e-9)
        x_min, y_min, x_max, y_max = np.add(
            np.multiply(first.face.box_xyxy, 1 - share), np.multiply(second.face.box_xyxy, share)
        ).tolist()
        return x_min, y_min, x_max, y_max


class Tracker:
    """Tells which faces of a frame were in the frames before it."""

    def __init__(self, keep: int | None = None, max_gap_s: float = MAX_GAP_S) -> None:
        """Begin without faces; each track remembers its last keep sightings, or all, and ends after max_gap_s."""
        self.tracks: list[Track] = []
        self._keep, self.max_gap_s = keep, max_gap_s
        self._begun = 0

    def update(self, time_s: float, faces: Iterable[FaceResult]) -> list[Track]:
        """Add the faces of a later frame and return their tracks, in the same order.

        Each goes, the best overlap first, to the track whose last box it overlaps, or begins one.
        """
        faces = list(faces)
        live = [track for track in self.tracks if time_s - track.sightings[-1].time_s <= self.max_gap_s]
        overlaps = sorted(
            (
                (_iou(track.sightings[-1].face.box_xyxy, face.box_xyxy), number, track)
                for number, face in enumerate(faces)
                for track in live
            ),
            key=lambda overlap: -overlap[0],
        )
        found: dict[int, Track] = {}
        for iou, number, track in overlaps:
            if iou >= _MIN_IOU and number not in found and track not in found.values():
                found[number] = track
        for number, face in enumerate(faces):
            track = found.get(number) or self._begin()
            track.add(time_s, face)
            found[number] = track
        return [found[number] for number in range(len(faces))]

    def forget(self, time_s: float) -> None:
        """Drop the tracks that no face of time_s or later can belong to."""
        self.tracks = [track for track in self.tracks if time_s - track.sightings[-1].time_s <= self.max_gap_s]

    def _begin(self) -> Track:
        self._begun += 1
        self.tracks.append(Track(self._begun, self._keep, self.max_gap_s))
        return self.tracks[-1]


def _iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)
