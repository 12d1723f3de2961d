"""Videos: sampled frames, the faces in them tracked, a verdict for each face."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from .detector import Detector
from .draw import draw_faces
from .errors import ImageError, SourceError
from .files import replacing
from .results import FileResult, TrackResult, VideoResult, decided, suspicion
from .tracks import MAX_GAP_S, Track, Tracker

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})
"""File name endings that mark a video; whether it is one, its content decides."""

DEFAULT_FPS = 5.0
MIN_SIGHTINGS = 3
"""A face seen in fewer of a video's sampled frames, unless there are no more, is uncertain: it may be none at all."""

_CODES = {".mp4": "mp4v", ".webm": "VP80"}  # that every OpenCV can write; browsers play the second alone
_MAGIC = {4: (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), 0: (b"\x1aE\xdf\xa3", b"RIFF")}
_MISSING_SHARE = 0.05  # of the frames that the header promises; fewer are missing to rounding
_MAX_SIDE_PX = 16_384
_MISSED_LOOKS = 2.5  # that a face may be away for where frames are looked at seldom
_MAX_FPS = 240.0  # more is a guess of FFmpeg's


class _StoppedError(Exception):
    """Keeps a half-drawn video from taking its name."""


class _Video:
    """The frames of an open video, upright, in turn."""

    def __init__(self, path: Path, capture: cv2.VideoCapture) -> None:
        self.path = path
        self._capture = capture
        fps = self._number(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= _MAX_FPS else 25.0
        self.frames = int(self._number(cv2.CAP_PROP_FRAME_COUNT))
        self.read = 0
        self.time_s = 0.0
        self._begins_s = 0.0

    def _number(self, what: int) -> float:
        value = self._capture.get(what)
        return value if math.isfinite(value) and value > 0 else 0.0

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps

    def times(self) -> Iterator[float]:
        """Go from frame to frame and yield when each is shown; frame() decodes the one gone to."""
        while self._capture.grab():
            stamp_s = self._number(cv2.CAP_PROP_POS_MSEC) / 1000 - self._begins_s
            if not self.read:  # a piece of a longer recording goes on with its time
                self._begins_s, stamp_s = stamp_s, 0.0
            # Some files have no time stamps, or some that go back.
            self.time_s = stamp_s if stamp_s > self.time_s or not self.read else self.time_s + 1 / self.fps
            self.read += 1
            yield self.time_s

    def frame(self) -> np.ndarray | None:
        """Return the frame gone to, (H, W, 3) uint8 RGB; None where it is damaged."""
        decoded, pixels = self._capture.retrieve()
        if not decoded or pixels is None or pixels.ndim != 3:
            return None
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


@contextmanager
def _opened(path: Path, max_megapixels: float) -> Iterator[_Video]:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ImageError("no file")
        with path.open("rb") as file:
            start = file.read(12)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error
    if not any(start[at:].startswith(magic) for at, magics in _MAGIC.items() for magic in magics):
        raise ImageError("not a video in a format that is read (MP4, MOV, AVI, Matroska, WebM)")
    # A whole path, so that FFmpeg takes no part of the name for a protocol or a pattern.
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # not every OpenCV turns the videos of phones upright unasked
    try:
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if not capture.isOpened() or not width or not height:
            raise ImageError("not a video that can be decoded")
        if width * height > max_megapixels * 1e6 or max(width, height) > _MAX_SIDE_PX:
            raise ImageError(f"frames of {width:.0f} x {height:.0f} pixels are more than {max_megapixels:g} megapixels")
        yield _Video(path, capture)
    finally:
        capture.release()


def scan_video(
    path: Path,
    detector: Detector,
    *,
    fps: float = DEFAULT_FPS,
    annotated: Path | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
    stopped: Callable[[], bool] = lambda: False,
) -> FileResult | None:
    """Return what fps frames of each second of a video show; one that cannot be read becomes a result with the reason.

    A face's p_fake is the interquartile mean over the frames it is in without doubt. Where the file ends before its
    header says, the result's error says so, and the verdict is that of what there is. annotated is a .mp4 or .webm to
    write every frame to, the faces framed, without sound, at the mean of its frame rate; on_progress is told the share
    of the work that is done. Stopped before all has been looked at, there is no result; stopped later, annotated is
    not written.

    Raises SourceError when annotated cannot be written.
    """
    next_s, looked_at, shape = 0.0, 0, (0, 0)
    passes = 2 if annotated else 1
    try:
        with _opened(path, detector.max_megapixels) as video:
            tracker = Tracker(max_gap_s=max(MAX_GAP_S, _MISSED_LOOKS / min(fps, video.fps)))
            for time_s in video.times():
                if stopped():
                    return None
                if time_s < next_s or (image := video.frame()) is None:
                    continue
                shape = image.shape[:2]
                tracker.update(time_s, detector.detect(image))
                looked_at += 1
                next_s = (math.floor(time_s * fps + 1e-6) + 1) / fps - 1e-6
                on_progress(min(video.read / max(video.frames, 1), 1) / passes)
            if not shape[0]:
                raise ImageError("no frame of the video can be decoded")
            ends_s = video.time_s + 1 / video.fps
            cut_short = ends_s < video.duration_s * (1 - _MISSING_SHARE) - 1 / video.fps
            mean_fps = min(video.read / ends_s, _MAX_FPS)
            tracks = {track: _judged(track, detector, looked_at) for track in tracker.tracks}
            result = VideoResult(
                path=str(path),
                status="ok",
                **decided(tracks.values()),
                width=shape[1],
                height=shape[0],
                fps=fps,
                duration_s=round(ends_s, 2),
                error=f"ends after {video.time_s:.1f} of {video.duration_s:.1f} s" if cut_short else None,
                **detector.signed,
            )
        if annotated:
            with suppress(_StoppedError):
                _annotate(
                    path,
                    tracks,
                    annotated,
                    mean_fps,
                    detector.max_megapixels,
                    lambda share: on_progress(0.5 + share / 2),
                    stopped,
                )
        return result
    except ImageError as error:
        return detector.failed(path, str(error))


def _judged(track: Track, detector: Detector, looked_at: int) -> TrackResult:
    counted, best, p_fake = track.counted, track.best, track.p_fake
    unsure = sum(sighting.face.verdict == "uncertain" for sighting in counted)
    enough = len(counted) >= min(MIN_SIGHTINGS, looked_at) and unsure * 2 <= len(counted)
    return TrackResult(
        box_xyxy=best.face.box_xyxy,
        score=best.face.score,
        p_fake=None if p_fake is None else round(p_fake, 6),
        verdict=detector.verdict(p_fake) if enough and p_fake is not None else "uncertain",
        roll_degrees=best.face.roll_degrees,
        doubt=track.doubt,
        start_s=round(track.sightings[0].time_s, 2),
        end_s=round(track.sightings[-1].time_s, 2),
        best_s=round(best.time_s, 2),
        frames=len(track.sightings),
    )


def _annotate(
    path: Path,
    tracks: dict[Track, TrackResult],
    target: Path,
    fps: float,
    max_megapixels: float,
    on_progress: Callable[[float], None],
    stopped: Callable[[], bool],
) -> None:
    with replacing(target) as partial, _opened(path, max_megapixels) as video:
        whole = partial.with_name(partial.name + target.suffix)  # FFmpeg goes by the ending
        writer = None
        try:
            for time_s in video.times():
                if stopped():
                    raise _StoppedError
                image = video.frame()
                if image is None:
                    continue
                height, width = image.shape[:2]
                if writer is None:
                    code = cv2.VideoWriter.fourcc(*_CODES[target.suffix.lower()])
                    writer = cv2.VideoWriter(str(whole), cv2.CAP_FFMPEG, code, fps, (width, height))
                    if not writer.isOpened():
                        raise SourceError(f"cannot write {target}: this OpenCV writes no such video")
                boxes = ((track.box_at(time_s), face) for track, face in tracks.items())
                seen = (replace(face, box_xyxy=box_xyxy) for box_xyxy, face in boxes if box_xyxy)
                draw_faces(image, sorted(seen, key=suspicion, reverse=True))
                writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
                on_progress(min(video.read / max(video.frames, 1), 1))
            if writer is not None:
                writer.release()
                _check_written(whole, target)
                whole.rename(partial)
        finally:
            with suppress(OSError):
                whole.unlink(missing_ok=True)


def _check_written(path: Path, target: Path) -> None:
    """Raise SourceError when a video that was written cannot be read: OpenCV says nothing of a full disk."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.grab():
            raise SourceError(f"cannot write {target}: the video is not whole; is the disk full?")
    finally:
        capture.release()
