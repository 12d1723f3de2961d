"""Scores of uploads: a detector shared by the threads of a server, and what can be shown of each result."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Semaphore

import cv2
import numpy as np

from ...edge.bundle import Bundle
from ...edge.detector import Detector
from ...edge.draw import draw_faces
from ...edge.errors import SourceError
from ...edge.explain import MAX_SHEET_FACES, Explainer, draw_sheet
from ...edge.results import FileResult, decided, suspicion
from ...edge.video import scan_video

_SHOWN_PX = 1600  # a side, at most, of what is shown
_JPEG_QUALITY = 90
_VIDEO_S = 120


@dataclass(frozen=True)
class Scored:
    """One file and what was said of it, small enough to keep some."""

    name: str
    sha256: str
    size_bytes: int
    result: FileResult
    picture_jpeg: bytes | None = None
    """The picture, _SHOWN_PX a side at most."""
    crops: Sequence[np.ndarray] = ()
    """What was scored of each face that has a score, (S, S, 3) uint8 RGB."""
    evidence: Sequence[np.ndarray] = ()
    """What each place of it adds, (h, w); nothing where the model cannot tell."""
    video_webm: bytes | None = None
    """The video with its faces framed; picture_jpeg is then its first frame."""

    def kept_bytes(self) -> int:
        """Return about how much memory this takes."""
        arrays = sum(array.nbytes for array in (*self.crops, *self.evidence))
        return 10_000 + len(self.picture_jpeg or b"") + len(self.video_webm or b"") + arrays

    def framed(self) -> np.ndarray | None:
        """Return the picture with its faces framed, (H, W, 3) uint8 RGB."""
        if self.picture_jpeg is None:
            return None
        picture = cv2.imdecode(np.frombuffer(self.picture_jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        if self.video_webm is not None:  # they are framed already
            return picture
        scale = picture.shape[1] / (self.result.width or picture.shape[1])
        draw_faces(picture, [face.scaled(scale) for face in self.result.faces])
        return picture

    def sheet(self) -> np.ndarray | None:
        """Return where the network looked, a row for each face, (H, W, 3) uint8 RGB."""
        if not self.evidence:
            return None
        first = slice(min(MAX_SHEET_FACES, len(self.evidence)))
        return draw_sheet(self.result.faces[first], self.crops[first], self.evidence[first])

    def at(self, threshold: float | None) -> Scored:
        """Return the same as one threshold would have it, fake at or above it and real below; None changes nothing."""
        if threshold is None or self.result.status != "ok":
            return self
        judged = [
            face if face.doubt else replace(face, verdict="fake" if (face.p_fake or 0) >= threshold else "real")
            for face in self.result.faces
        ]
        # As decided() sorts them; those without a score, crop and evidence are the last here as there.
        order = sorted(range(len(judged)), key=lambda number: suspicion(judged[number]), reverse=True)
        result = replace(self.result, **decided(judged), rule=f"fake from {threshold:g}, real below")
        crops = [self.crops[number] for number in order if number < len(self.crops)]
        evidence = [self.evidence[number] for number in order if number < len(self.evidence)]
        return replace(self, result=result, crops=crops, evidence=evidence)


class Scorer:
    """Scores as many files at once as there are workers, and a video; for use in any thread."""

    def __init__(self, bundle: Bundle, *, workers: int, max_megapixels: float, small_faces: bool = True) -> None:
        """Set up a detector; raises what Detector raises."""
        self.bundle = bundle
        self._detector = Detector(bundle, max_megapixels=max_megapixels, small_faces=small_faces)
        self._explainer = Explainer(self._detector) if bundle.explainer else None
        self._workers = Semaphore(workers)
        self._one_video = Lock()
        self._is_stopped = Event()

    def stop(self) -> None:
        """End what is at work on a video."""
        self._is_stopped.set()

    def picture(self, path: Path, name: str, *, shown: bool = True) -> Scored:
        """Return what a picture file shows; with shown, all that is needed to show it."""
        sha256, size_bytes = _identity(path)
        pixels: list[np.ndarray] = []
        with self.detector() as detector:
            result = replace(detector.scan_file(path, pixels.append), path=name)
            scored = Scored(name, sha256, size_bytes, result)
            if not (shown and result.status == "ok" and pixels and result.width):
                return scored
            scale = pixels[0].shape[1] / result.width
            faces = [face.scaled(scale) for face in result.faces if face.p_fake is not None]
            crops = [detector.crop(pixels[0], face.box_xyxy, face.roll_degrees) for face in faces]
            evidence = [self._explainer.evidence(crop) for crop in crops] if self._explainer else []
        return replace(scored, picture_jpeg=as_jpeg(fitted(pixels[0], _SHOWN_PX)), crops=crops, evidence=evidence)

    def video(self, path: Path, name: str, on_progress: Callable[[float], None] = lambda share: None) -> Scored:
        """Return what a video shows, and the video with its faces framed; one video at a time.

        Raises SourceError where that fails, takes more than two minutes, or is stopped.
        """
        with self._one_video, tempfile.TemporaryDirectory(prefix="facetell-") as folder:
            annotated, ends = Path(folder) / "faces.webm", time.monotonic() + _VIDEO_S
            result = scan_video(
                path,
                self._detector,
                annotated=annotated,
                on_progress=on_progress,
                stopped=lambda: self._is_stopped.is_set() or time.monotonic() > ends,
            )
            if result is None or (result.status == "ok" and not annotated.exists()):
                raise SourceError(f"the video takes more than {_VIDEO_S:g} s here; cut it up, or use facetell scan")
            video = annotated.read_bytes() if annotated.exists() else None
            first = _first_frame(annotated)
        sha256, size_bytes = _identity(path)
        picture = None if first is None else as_jpeg(fitted(first, _SHOWN_PX))
        return Scored(name, sha256, size_bytes, replace(result, path=name), picture, video_webm=video)

    @contextmanager
    def detector(self) -> Iterator[Detector]:
        """Lend the detector, once one of the workers is free."""
        with self._workers:
            yield self._detector


def _identity(path: Path) -> tuple[str, int]:
    """Return the sha256 and the size in bytes of a file."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest(), path.stat().st_size


def _first_frame(video: Path) -> np.ndarray | None:
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    read, frame = capture.read()
    capture.release()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if read else None


def as_jpeg(image: np.ndarray) -> bytes:
    """Return a (H, W, 3) uint8 RGB picture as the content of a JPEG file."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def fitted(image: np.ndarray, side_px: int) -> np.ndarray:
    """Return a (H, W, 3) uint8 RGB picture, shrunk to side_px a side where it is larger."""
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return image
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
