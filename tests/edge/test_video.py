"""Videos: what is sampled, what is said of each face, and what happens with files that are not as they should be."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.edge.bundle import Bundle
from facetell.edge.detector import Detector
from facetell.edge.images import read_image
from facetell.edge.results import TrackResult, VideoResult
from facetell.edge.video import SUFFIXES, scan_video

from ..pictures import VIDEO_SIZE, write_video


@pytest.fixture(scope="module")
def forged(samples: Path) -> np.ndarray:
    return cv2.resize(read_image(samples / "fake_hopper_with_astronauts_face.jpg")[60:444], VIDEO_SIZE)


@pytest.fixture(scope="module")
def nobody() -> np.ndarray:
    return np.full((*VIDEO_SIZE[::-1], 3), 90, np.uint8)


@pytest.mark.parametrize(("suffix", "code"), [(".mp4", "mp4v"), (".avi", "MJPG"), (".mkv", "mp4v"), (".webm", "VP80")])
def test_containers(suffix: str, code: str, detector: Detector, portrait: np.ndarray, tmp_path: Path) -> None:
    assert suffix in SUFFIXES
    result = scan_video(write_video(tmp_path / f"clip{suffix}", [portrait] * 20, code), detector)
    assert isinstance(result, VideoResult)
    assert (result.status, result.error, result.width, result.height) == ("ok", None, *VIDEO_SIZE)
    assert result.duration_s == pytest.approx(2, abs=0.11)
    (face,) = result.faces
    assert isinstance(face, TrackResult)
    assert (face.start_s, face.frames) == (0, 10)
    assert (result.verdict, result.p_fake) == (face.verdict, face.p_fake)


@pytest.mark.parametrize(("fps", "looked_at"), [(1, 2), (2, 4), (5, 10), (10, 20), (100, 20)])
def test_so_many_frames_a_second_are_looked_at(
    fps: float, looked_at: int, detector: Detector, portrait: np.ndarray, tmp_path: Path
) -> None:
    result = scan_video(write_video(tmp_path / "clip.mp4", [portrait] * 20), detector, fps=fps)
    assert [face.frames for face in result.faces if isinstance(face, TrackResult)] == [looked_at]


@pytest.mark.parametrize(
    ("turned", "matrix"),
    [
        (None, (1, 0, 0, 1)),
        (cv2.ROTATE_90_COUNTERCLOCKWISE, (0, 1, -1, 0)),
        (cv2.ROTATE_180, (-1, 0, 0, -1)),
        (cv2.ROTATE_90_CLOCKWISE, (0, -1, 1, 0)),
    ],
    ids=["upright", "90", "180", "270"],
)
def test_a_phone_held_sideways_makes_no_difference(
    turned: int | None, matrix: tuple[int, ...], detector: Detector, portrait: np.ndarray, tmp_path: Path
) -> None:
    frame = portrait if turned is None else cv2.rotate(portrait, turned)
    video = write_video(tmp_path / "clip.mp4", [frame] * 10)
    turn_upright(video, matrix)
    result = scan_video(video, detector, annotated=tmp_path / "out.mp4")
    assert result
    assert (result.width, result.height) == VIDEO_SIZE
    (face,) = result.faces
    (as_it_is,) = detector.detect(portrait)
    assert face.box_xyxy == pytest.approx(as_it_is.box_xyxy, abs=3)
    _, drawn = cv2.VideoCapture(str(tmp_path / "out.mp4")).read()
    assert drawn.shape == portrait.shape


def turn_upright(video: Path, matrix: tuple[int, ...]) -> None:
    """Write the four numbers that say how an MP4 is to be turned, where a phone does (ISO 14496-12, 8.3.2)."""
    content = bytearray(video.read_bytes())
    at = content.index(b"tkhd") + 44
    numbers = [int.from_bytes(content[at + 4 * n : at + 4 * n + 4], "big", signed=True) for n in range(9)]
    assert numbers[0:2] + numbers[3:5] == [65536, 0, 0, 65536]
    numbers[0:2], numbers[3:5] = [65536 * n for n in matrix[:2]], [65536 * n for n in matrix[2:]]
    content[at : at + 36] = struct.pack(">9i", *numbers)
    video.write_bytes(content)


def test_the_time_stamps_of_frames_count_not_their_number(
    detector: Detector, portrait: np.ndarray, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "clip.mp4", [portrait] * 20)
    slow_down(video, after=10, factor=5)  # 10 frames/s for a second, then 2
    result = scan_video(video, detector, fps=5)
    assert isinstance(result, VideoResult)
    assert (result.error, len(result.faces)) == (None, 1)
    assert result.duration_s == pytest.approx(6, abs=0.3)
    (face,) = result.faces
    assert isinstance(face, TrackResult)
    assert (face.start_s, face.end_s, face.frames) == (0, 5.5, 5 + 10)


def slow_down(video: Path, *, after: int, factor: int) -> None:
    """Give the frames of an MP4 after so many of them a longer time (ISO 14496-12, 8.6.1.2)."""
    content = video.read_bytes().replace(b"edts", b"free")  # the list of edits says how long it was
    at = content.index(b"stts")
    entries, frames, ticks = struct.unpack(">3I", content[at + 8 : at + 20])
    assert entries == 1
    table = struct.pack(">6I", 0, 2, after, ticks, frames - after, ticks * factor)
    longer = bytearray(content[:at] + b"stts" + table + content[at + 20 :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        size = longer.index(name) - 4
        longer[size : size + 4] = struct.pack(">I", int.from_bytes(longer[size : size + 4], "big") + 8)
    video.write_bytes(longer)


@pytest.mark.parametrize(("video_fps", "fps"), [(10, 0.4), (0.5, 5)], ids=["looked at seldom", "of few frames"])
def test_a_face_is_one_however_seldom_it_is_looked_at(
    video_fps: float, fps: float, detector: Detector, portrait: np.ndarray, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "clip.avi", [portrait] * round(8 * max(video_fps, 1)), "MJPG", fps=video_fps)
    result = scan_video(video, detector, fps=fps)
    assert result
    assert (len(result.faces), result.verdict) == (1, "real")


def test_a_face_has_the_score_of_its_frames(
    detector: Detector, portrait: np.ndarray, forged: np.ndarray, tmp_path: Path
) -> None:
    frames = [portrait] * 20 + [forged] * 20
    (of_real,), (of_fake,) = (detector.detect(frame) for frame in (portrait, forged))
    result = scan_video(write_video(tmp_path / "clip.mp4", frames, "MJPG"), detector)
    assert result.faces[0].verdict == result.verdict == detector.verdict(result.faces[0].p_fake)
    assert of_real.p_fake < result.faces[0].p_fake < of_fake.p_fake or len(result.faces) == 2


@pytest.mark.parametrize(("seen", "verdicts"), [(1, {"uncertain"}), (2, {"uncertain"}), (20, {"real"})])
def test_a_face_of_a_moment_is_uncertain(
    seen: int, verdicts: set[str], detector: Detector, portrait: np.ndarray, nobody: np.ndarray, tmp_path: Path
) -> None:
    assert detector.detect(portrait)[0].verdict == "real"
    frames = [portrait] * seen + [nobody] * (20 - seen)
    result = scan_video(write_video(tmp_path / "clip.avi", frames, "MJPG"), detector, fps=10)
    assert {face.verdict for face in result.faces} == verdicts


def test_a_face_that_is_too_small_decides_nothing(bundle: Bundle, portrait: np.ndarray, tmp_path: Path) -> None:
    detector = Detector(replace(bundle, min_face_px=200), threshold=0)
    video = write_video(tmp_path / "clip.mp4", [portrait] * 10)
    result = scan_video(video, detector, annotated=tmp_path / "out.mp4")
    assert isinstance(result, VideoResult)
    assert (result.verdict, result.p_fake, result.deciding_face, result.too_small) == ("no_face", None, None, 1)
    (face,) = result.faces
    assert (face.verdict, face.p_fake, face.doubt) == ("uncertain", None, "too_small")
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).grab()


def test_a_face_is_judged_by_the_frames_in_which_it_can_be(
    bundle: Bundle, portrait: np.ndarray, tmp_path: Path
) -> None:
    closer = cv2.resize(portrait[20:200, 40:280], VIDEO_SIZE)  # a third larger, at about the same place
    (far,), (near,) = (Detector(bundle).detect(frame) for frame in (portrait, closer))
    between_px = (far.box_xyxy[2] - far.box_xyxy[0] + near.box_xyxy[2] - near.box_xyxy[0]) / 2
    detector = Detector(replace(bundle, min_face_px=between_px))
    result = scan_video(write_video(tmp_path / "clip.avi", [portrait] * 10 + [closer] * 10, "MJPG"), detector)
    (face,) = result.faces
    assert isinstance(face, TrackResult)
    assert (face.frames, face.doubt, face.best_s >= 1) == (10, None, True)
    assert face.p_fake == pytest.approx(near.p_fake, abs=0.1)
    assert result.deciding_face == 0


def test_a_video_without_faces(detector: Detector, nobody: np.ndarray, tmp_path: Path) -> None:
    result = scan_video(write_video(tmp_path / "clip.mp4", [nobody] * 5), detector)
    assert (result.status, result.verdict, result.p_fake, list(result.faces)) == ("ok", "no_face", None, [])


def test_a_broken_tail_is_said_and_the_rest_is_scored(detector: Detector, portrait: np.ndarray, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", [portrait] * 40, "MJPG").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    result = scan_video(tmp_path / "cut.avi", detector)
    assert result.status == "ok"
    assert len(result.faces) == 1
    assert "ends after" in (result.error or "")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: b"", "not a video"),
        (lambda content: b"no video", "not a video"),
        (lambda content: content[:100], "not a video that can be decoded"),
        (lambda content: b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not a video in a format"),
        (lambda content: b"ffconcat version 1.0\nfile /etc/passwd\n", "not a video in a format"),
        (lambda content: content[:12] + bytes(len(content)), "not a video that can be decoded"),
    ],
    ids=["empty", "text", "header", "playlist", "list", "zeros"],
)
def test_what_is_no_video_is_a_reason(
    spoil: Callable[[bytes], bytes], reason: str, detector: Detector, portrait: np.ndarray, tmp_path: Path
) -> None:
    content = write_video(tmp_path / "good.mp4", [portrait] * 5).read_bytes()
    (tmp_path / "bad.mp4").write_bytes(spoil(content))
    result = scan_video(tmp_path / "bad.mp4", detector)
    assert (result.status, result.verdict, result.p_fake) == ("error", "error", None)
    assert reason in (result.error or "")


def test_frames_beyond_the_limit_are_refused(bundle: Bundle, portrait: np.ndarray, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", [portrait] * 3)
    result = scan_video(video, Detector(bundle, max_megapixels=0.05))
    assert "320 x 240 pixels are more" in (result.error or "")


@pytest.mark.parametrize("name", ["%03d.mp4", "-i.mp4", "concat:a.mp4", "file:b.mp4", "Ünï 顔.mp4"])
def test_odd_names_are_only_names(
    name: str, detector: Detector, portrait: np.ndarray, tmp_path: Path, monkeypatch
) -> None:
    write_video(tmp_path / "clip.mp4", [portrait] * 5).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    result = scan_video(Path(name), detector)
    assert (result.path, result.status, len(result.faces)) == (name, "ok", 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(detector: Detector, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "no file" in (scan_video(tmp_path / "pipe.mp4", detector).error or "")


def test_progress_goes_to_the_end(detector: Detector, portrait: np.ndarray, tmp_path: Path) -> None:
    shares: list[float] = []
    video = write_video(tmp_path / "clip.mp4", [portrait] * 20)
    scan_video(video, detector, annotated=tmp_path / "out.mp4", on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_it_stops_when_told(detector: Detector, portrait: np.ndarray, tmp_path: Path) -> None:
    asked = itertools.count()
    video = write_video(tmp_path / "clip.mp4", [portrait] * 20)
    assert scan_video(video, detector, stopped=lambda: next(asked) >= 5) is None
