"""Scores of uploads: detectors shared among the threads of a server, and what is shown of each result."""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...edge.bundle import Bundle
from ...edge.detector import Detector
from ...edge.draw import draw_face
from ...edge.errors import ImageError
from ...edge.explain import Explainer
from ...edge.images import Picture
from ...edge.results import FaceResult, FileResult, gravest_first
from ...edge.runtime import silent_stderr
from ...edge.video import scan_video
from .report import Scored

_MAX_SIDE_PX = 1600  # of what is shown


class Busy(Exception):
    """All detectors are at work, and as many uploads as may wait for them do."""


@dataclass(frozen=True)
class _Worker:
    detector: Detector
    explainer: Explainer | None


class Scorer:
    """Scores files with as many detectors as there are workers; for use in any thread."""

    def __init__(self, bundle: Bundle, *, workers: int, max_megapixels: float) -> None:
        """Set up the detectors; raises what Detector raises."""
        self.bundle = bundle
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        with silent_stderr():
            for _ in range(workers):
                detector = Detector(bundle, precision="auto", max_megapixels=max_megapixels)
                self._idle.put(_Worker(detector, Explainer(detector) if bundle.explainer else None))

    def picture(self, path: Path, name: str, *, shown: bool = True) -> Scored:
        """Return what a picture file shows; with shown, framed and with the sheet of where the network looked."""
        content = path.read_bytes()
        sha256, size = hashlib.sha256(content).hexdigest(), len(content)
        with self._worker() as worker:
            result = replace(worker.detector.scan_file(path), path=name)
            if not shown or result.status != "ok":
                return Scored(name, sha256, size, result)
            try:
                image, found = worker.detector.read(Picture(path, max_megapixels=worker.detector.max_megapixels))
            except ImageError:
                return Scored(name, sha256, size, result)
            faces = worker.detector.judge(image, found)
            sheet = worker.explainer.sheet(image, faces) if worker.explainer and faces else None
        return Scored(name, sha256, size, result, framed(image, faces), sheet)

    def video(
        self,
        path: Path,
        name: str,
        annotated: Path,
        on_progress: Callable[[float], None] = lambda share: None,
    ) -> FileResult:
        """Return what a video shows, and write it with its faces framed as annotated."""
        with self._worker() as worker:
            result = scan_video(path, worker.detector, annotated=annotated, on_progress=on_progress)
            assert result is not None  # it is never stopped
            return replace(result, path=name)

    @contextmanager
    def detector(self) -> Iterator[Detector]:
        """Lend a detector."""
        with self._worker() as worker:
            yield worker.detector

    @contextmanager
    def _worker(self) -> Iterator[_Worker]:
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)


def framed(image: np.ndarray, faces: list[FaceResult]) -> np.ndarray:
    """Return a (H, W, 3) uint8 RGB picture with its faces framed."""
    picture = image.copy()
    for face in faces:
        draw_face(picture, face.box_xyxy, face.verdict, face.p_fake)
    return picture


def at_threshold(result: FileResult, threshold: float) -> FileResult:
    """Return a result as one threshold would have it: fake at or above it, real below."""
    if result.status != "ok":
        return result
    faces = gravest_first(
        replace(face, verdict="fake" if face.p_fake >= threshold else "real") for face in result.faces
    )
    verdict = faces[0].verdict if faces else "no_face"
    return replace(result, faces=faces, verdict=verdict, p_fake=faces[0].p_fake if faces else None)
