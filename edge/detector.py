"""From pixels to verdicts: find the faces, crop each, score it, calibrate, decide."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from .bundle import Bundle
from .calibration import Thresholds
from .conditions import variations
from .errors import ImageError, ModelError
from .faces import Face, FaceFinder, centre, crop_face, face_square, resize_face, saved_size_px
from .images import read_image
from .results import FaceResult, FileResult
from .runtime import TFLiteModel

_SUSPICION = ("real", "uncertain", "fake")  # the gravest last


class Detector:
    """Scores pictures with one bundle; for use in one thread."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        precision: str = "auto",
        runtime: str = "auto",
        threshold: float | None = None,
        pre_cropped: bool = False,
        careful: bool = False,
    ) -> None:
        """Set up a bundle's models.

        threshold, if given, replaces the bundle's two by one: fake at or above it, real below. With pre_cropped, or a
        bundle that was trained so, every picture is taken for one face crop and no face is looked for. When careful,
        mild variations of each face are scored, too: p_fake is their mean, and where verdicts differ it is uncertain.

        Raises ModelError or RuntimeMissingError when the models cannot be run here.
        """
        classifier = bundle.classifier(precision)
        self._bundle, self._pre_cropped = bundle, pre_cropped or bundle.pre_cropped
        self._careful = careful
        self._finder = FaceFinder(bundle.face_detector, min_score=bundle.min_face_score, runtime=runtime)
        self._classifier = TFLiteModel(classifier.content, runtime)
        size = bundle.input_size_px
        if self._classifier.input_shape != (1, size, size, 3) or self._classifier.output_shapes != [(1, 2)]:
            raise ModelError(
                f"{classifier.file} takes {self._classifier.input_shape} and gives {self._classifier.output_shapes}; "
                f"wanted (1, {size}, {size}, 3) and one output (1, 2)"
            )
        self._calibration = classifier.calibration
        self._thresholds = bundle.thresholds
        if threshold is not None:
            self._thresholds = Thresholds(float(np.nextafter(threshold, 0)), threshold, "given by the user")
        self.precision = classifier.precision

    def detect(self, image: np.ndarray) -> list[FaceResult]:
        """Return the faces of a (H, W, 3) uint8 RGB picture, the most suspicious first."""
        size = self._bundle.input_size_px
        if self._pre_cropped:
            height, width = image.shape[:2]
            crop = centre(resize_face(image, size_px=saved_size_px(size)), size)
            faces = [(Face((0.0, 0.0, float(width), float(height)), 1.0), crop)]
        else:
            margin_ratio = self._bundle.margin_ratio
            faces = [
                (face, crop_face(image, face.box_xyxy, size_px=size, margin_ratio=margin_ratio))
                for face in self._finder.find(image)
            ]
        results = [self._judge(image, face, crop) for face, crop in faces]
        return sorted(results, key=lambda result: (_SUSPICION.index(result.verdict), result.p_fake), reverse=True)

    def score(self, crop: np.ndarray) -> float:
        """Return the calibrated p_fake of one (S, S, 3) uint8 RGB crop of the input size."""
        raw = self._classifier.run(crop[np.newaxis])[0][:, 1]
        return float(self._calibration.apply(raw)[0])

    def scan_file(self, path: Path) -> FileResult:
        """Return what a picture file shows; a file that cannot be read becomes a result with the reason."""
        started = time.perf_counter()
        try:
            image = read_image(path)
        except ImageError as error:
            return FileResult(path=str(path), status="error", verdict="error", error=str(error))
        faces = self.detect(image)
        height, width = image.shape[:2]
        return FileResult(
            path=str(path),
            status="ok",
            verdict=faces[0].verdict if faces else "no_face",
            p_fake=faces[0].p_fake if faces else None,
            faces=faces,
            width=width,
            height=height,
            model=self._bundle.identity,
            precision=self.precision,
            latency_ms=round((time.perf_counter() - started) * 1000, 2),
        )

    def _judge(self, image: np.ndarray, face: Face, crop: np.ndarray) -> FaceResult:
        views = [crop, *variations(image, crop, self._square(image, face))] if self._careful else [crop]
        scores = [round(self.score(view), 6) for view in views]
        verdicts = {self._thresholds.verdict(p_fake) for p_fake in scores}
        x_min, y_min, x_max, y_max = (round(edge, 2) for edge in face.box_xyxy)
        return FaceResult(
            box_xyxy=(x_min, y_min, x_max, y_max),
            score=round(face.score, 4),
            p_fake=round(float(np.mean(scores)), 6),
            verdict=verdicts.pop() if len(verdicts) == 1 else "uncertain",
        )

    def _square(self, image: np.ndarray, face: Face) -> tuple[float, float, float]:
        """Return centre x, centre y and side, in pixels, of what is scored of a face."""
        if not self._pre_cropped:
            return face_square(image, face.box_xyxy, margin_ratio=self._bundle.margin_ratio)
        x, y, side = face_square(image, face.box_xyxy, margin_ratio=1)
        size = self._bundle.input_size_px
        return x, y, side * size / saved_size_px(size)
