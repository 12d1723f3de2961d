"""From pixels to verdicts: find the faces, crop each, score it, calibrate, decide."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .blazeface import BlazeFace
from .bundle import DEFAULT_BUNDLE, Bundle, load_bundle
from .calibration import Thresholds, Verdict
from .conditions import variations
from .cut import centre, closeness, closer, crop_face, face_square, resize_face, saved_size_px
from .errors import ImageError, ModelError
from .faces import Box, Face, Square
from .finder import HINT_SCORE, FaceFinder, is_sure
from .images import MAX_MEGAPIXELS, MAX_SIDE_PX, REDUCTIONS, Picture, upright_rgb
from .results import DECIDING, Doubt, FaceResult, FileResult, decided, suspicion
from .runtime import TFLiteModel

_LIKELY_FACE_SHARE = 0.3
"""Of a picture's shorter side: as if no face were smaller, a large JPEG is decoded first. Where one is, the picture is
decoded again; both together then take at most 1.4 times as long as the whole at once (docs/performance.md)."""


class Detector:
    """Scores pictures with one bundle, in any number of threads; it can be pickled."""

    def __init__(
        self,
        bundle: Bundle | Path | str = DEFAULT_BUNDLE,
        *,
        precision: str | None = None,
        runtime: str = "auto",
        threshold: float | None = None,
        pre_cropped: bool = False,
        careful: bool = False,
        small_faces: bool = True,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        """Set up the models of a bundle, of its folder or zip, or those that ship with facetell.

        precision is float32, float16 or int8, by default the most exact there is.
        threshold, if given, replaces the bundle's two by one: fake at or above it, real below. With pre_cropped, or a
        bundle that was trained so, every picture is taken for one face crop and no face is looked for. When careful,
        mild variations of each face are scored, too: p_fake is their mean, and where verdicts differ it is uncertain.
        With small_faces, parts of a picture are searched where faces that can be judged may be missed in the whole.

        Raises ModelError or RuntimeMissingError when the models cannot be loaded and run here, ValueError when
        threshold is not from 0 to 1.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"the threshold {threshold!r} is not a probability; wanted a number from 0 to 1")
        if not isinstance(bundle, Bundle):
            bundle = load_bundle(Path(bundle))
        classifier = bundle.classifier(precision)
        self.bundle, self._pre_cropped = bundle, pre_cropped or bundle.pre_cropped
        self._careful, self._small_faces, self.max_megapixels = careful, small_faces, max_megapixels
        self.finder = FaceFinder(BlazeFace(bundle.face_detector, min_score=HINT_SCORE, runtime=runtime))
        self.classifier = TFLiteModel(classifier.content, runtime)
        size = bundle.input_size_px
        if self.classifier.input_shape != (1, size, size, 3) or self.classifier.output_shapes != [(1, 2)]:
            raise ModelError(
                f"{classifier.file} takes {self.classifier.input_shape} and gives {self.classifier.output_shapes}; "
                f"wanted (1, {size}, {size}, 3) and one output (1, 2)"
            )
        self._calibration = classifier.calibration
        self._thresholds = bundle.thresholds
        if threshold is not None:
            self._thresholds = Thresholds(float(np.nextafter(threshold, 0)), threshold, "given by the user")
        self.signed: dict[str, Any] = {
            "model": bundle.identity,
            "precision": classifier.precision,
            "rule": self._rule(),
        }
        """What every result says of how it was made."""
        self._settings = {
            "precision": precision,
            "runtime": runtime,
            "threshold": threshold,
            "pre_cropped": pre_cropped,
            "careful": careful,
            "small_faces": small_faces,
            "max_megapixels": max_megapixels,
        }

    def __reduce__(self) -> tuple[Callable[[], Detector], tuple[()]]:
        return partial(Detector, self.bundle, **self._settings), ()

    def scan(self, source: str | Path | bytes | Image.Image | np.ndarray, *, bgr: bool = False) -> FileResult:
        """Return what a picture or video shows.

        source is the path of a picture or video, the content of a picture file, a PIL image, or an array (H, W, 3) of
        uint8: RGB, or with bgr as OpenCV has it. What cannot be read becomes a result with the reason. Raises TypeError
        or ValueError for anything else.
        """
        if isinstance(source, str | Path):
            from .scan import scan_one  # which is built upon this

            result = scan_one(Path(source), self)
            assert result  # nothing stops it
            return result
        if isinstance(source, bytes):
            return replace(self.scan_file(Path(), content=source), path="")
        started = time.perf_counter()
        if isinstance(source, Image.Image):
            try:
                source = upright_rgb(source, max_megapixels=self.max_megapixels)
            except ImageError as error:
                return self.failed("", str(error))
        elif bgr and isinstance(source, np.ndarray):
            source = source[..., ::-1]
        image = _checked(source)
        faces = self.judge(image, self._find(image))
        return self._judged("", faces, image.shape[1], image.shape[0], started)

    def detect(self, image: np.ndarray) -> list[FaceResult]:
        """Return the faces of a (H, W, 3) uint8 RGB picture: those that may decide first, the most suspicious first."""
        image = _checked(image)
        return self.judge(image, self._find(image))

    def failed(self, path: Path | str, reason: str) -> FileResult:
        """Return the result of a file that cannot be scanned."""
        return FileResult(path=str(path), status="error", verdict="error", error=reason, **self.signed)

    def score(self, crop: np.ndarray) -> float:
        """Return the calibrated p_fake of one (S, S, 3) uint8 RGB crop of the input size."""
        raw = self.classifier.run(crop[np.newaxis])[0][:, 1]
        return float(self._calibration.apply(raw)[0])

    def verdict(self, p_fake: float) -> Verdict:
        """Return fake, real or uncertain."""
        return self._thresholds.verdict(p_fake)

    def scan_file(
        self,
        path: Path,
        on_pixels: Callable[[np.ndarray], None] = lambda image: None,
        *,
        content: bytes | None = None,
    ) -> FileResult:
        """Return what a picture file shows; a file that cannot be read becomes a result with the reason.

        on_pixels is given what was decoded, (H, W, 3) uint8 RGB: the picture, or a smaller one. content is what the
        file holds, where that has been read.
        """
        started = time.perf_counter()
        try:
            picture = Picture(path if content is None else content, max_megapixels=self.max_megapixels)
            image, found = self.read(picture)
            on_pixels(image)
        except ImageError as error:
            return self.failed(path, str(error))
        faces = self.judge(image, found, picture.width_px / image.shape[1])
        return self._judged(path, faces, picture.width_px, picture.height_px, started)

    def _judged(self, path: Path | str, faces: list[FaceResult], width: int, height: int, started: float) -> FileResult:
        return FileResult(
            path=str(path),
            status="ok",
            **decided(faces),
            width=width,
            height=height,
            latency_ms=round((time.perf_counter() - started) * 1000, 2),
            **self.signed,
        )

    def read(self, picture: Picture) -> tuple[np.ndarray, list[Face]]:
        """Decode a picture no larger than its faces need, and find them, in pixels of what was decoded.

        A JPEG is reduced only where at least one of the reduced picture's pixels is left for each of the crop's.
        """
        shorter_px, size = min(picture.width_px, picture.height_px), self.bundle.input_size_px
        if self._pre_cropped:
            image = picture.decode(_reduction(shorter_px / saved_size_px(size)))
            return image, self._find(image)
        first = _reduction(shorter_px * _LIKELY_FACE_SHARE / size)
        image = picture.decode(first)
        shown = picture.width_px / image.shape[1]
        faces = self._find(image, shown)
        deciding = [face for face in faces if self._doubt(face, shown) in DECIDING]
        smallest_px = min((self.square(image, face.box_xyxy).side_px for face in deciding), default=math.inf) * shown
        if shown == 1 or _reduction(smallest_px / size) >= first:
            return image, faces
        sharper = picture.decode(_reduction(smallest_px / size))
        return sharper, [face.scaled(sharper.shape[1] / image.shape[1]) for face in faces]

    def _find(self, image: np.ndarray, shown: float = 1) -> list[Face]:
        """Return the faces in a picture that is shown times smaller than the original."""
        height, width = image.shape[:2]
        if self._pre_cropped:
            return [Face((0.0, 0.0, float(width), float(height)), 1.0)]
        return self.finder.find(image, smallest_px=self.bundle.min_face_px / shown if self._small_faces else None)

    def judge(self, image: np.ndarray, faces: list[Face], scale: float = 1) -> list[FaceResult]:
        """Return the verdicts on faces of a (H, W, 3) uint8 RGB picture, sorted as by detect, boxes enlarged by scale.

        scale is how many pixels of the original picture there are for one of image.
        """
        return sorted((self._judge(image, face, scale) for face in faces), key=suspicion, reverse=True)

    def _judge(self, image: np.ndarray, face: Face, scale: float) -> FaceResult:
        doubt, roll_degrees = self._doubt(face, scale), round(face.roll_degrees, 2)
        scores = [] if doubt == "too_small" else self._scores(image, face.box_xyxy, roll_degrees)
        verdicts: set[Verdict] = {self.verdict(p_fake) for p_fake in scores}
        x_min, y_min, x_max, y_max = (round(edge * scale, 2) for edge in face.box_xyxy)
        return FaceResult(
            box_xyxy=(x_min, y_min, x_max, y_max),
            score=round(face.score, 4),
            p_fake=round(float(np.mean(scores)), 6) if scores else None,
            verdict=verdicts.pop() if len(verdicts) == 1 and doubt is None else "uncertain",
            roll_degrees=roll_degrees,
            doubt=doubt,
        )

    def _doubt(self, face: Face, scale: float) -> Doubt | None:
        if self._pre_cropped:
            return None
        if not is_sure(face):
            return "may_not_be_a_face"
        if face.size_px * scale < self.bundle.min_face_px:
            return "too_small"
        return None if face.is_frontal else "not_frontal"

    def _scores(self, image: np.ndarray, box_xyxy: Box, roll_degrees: float) -> list[float]:
        crop = self.crop(image, box_xyxy, roll_degrees)
        views = [crop]
        if self._careful:
            square = self.square(image, box_xyxy, roll_degrees)
            views += variations(image, crop, square, self.closeness(square, box_xyxy))
        return [round(self.score(view), 6) for view in views]

    def crop(self, image: np.ndarray, box_xyxy: Box, roll_degrees: float = 0.0) -> np.ndarray:
        """Return the view of a face in a (H, W, 3) uint8 RGB picture that is scored, (S, S, 3) uint8 RGB."""
        bundle, size = self.bundle, self.bundle.input_size_px
        if self._pre_cropped:
            crop = centre(resize_face(image, size_px=saved_size_px(size)), size)
            return closer(crop, self.closeness(self.square(image, box_xyxy), box_xyxy))
        return crop_face(
            image,
            box_xyxy,
            size_px=size,
            margin_ratio=bundle.margin_ratio,
            shown_ratio=bundle.shown_ratio,
            roll_degrees=roll_degrees,
        )

    def closeness(self, square: Square, box_xyxy: Box) -> float:
        """Return how far to enlarge the centre of a face's square; 1 or less: not at all.

        A picture that is a crop already is assumed to be as wide as the bundle's widest.
        """
        if self.bundle.pre_cropped:
            return 1.0
        if self._pre_cropped:
            return self.bundle.margin_ratio / self.bundle.shown_ratio
        return closeness(square, box_xyxy, self.bundle.shown_ratio)

    def square(self, image: np.ndarray, box_xyxy: Box, roll_degrees: float = 0.0) -> Square:
        """Return the square of a (H, W, 3) picture that is cut of a face."""
        if not self._pre_cropped:
            return face_square(image, box_xyxy, margin_ratio=self.bundle.margin_ratio, roll_degrees=roll_degrees)
        whole = face_square(image, box_xyxy, margin_ratio=1)
        size = self.bundle.input_size_px
        return replace(whole, side_px=whole.side_px * size / saved_size_px(size))

    def _rule(self) -> str:
        """Return what besides the model decides a verdict."""
        numbers = f"fake from {self._thresholds.fake:.6g}, real up to {self._thresholds.real:.6g}"
        flags = (", careful" * self._careful) + (", pre-cropped" * self._pre_cropped)
        flags += ", small faces off" * (not self._small_faces)
        limit = f", up to {self.max_megapixels:g} megapixels" * (self.max_megapixels != MAX_MEGAPIXELS)
        return numbers + flags + limit


def _checked(image: object) -> np.ndarray:
    """Return an array of pixels; raises TypeError or ValueError when it is not (H, W, 3) uint8."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{type(image).__name__} is not a picture; wanted a path, bytes, a PIL image or a numpy array")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"a picture of shape {image.shape} and {image.dtype}; wanted (H, W, 3) and uint8, 0 to 255")
    if max(image.shape) > MAX_SIDE_PX:
        raise ValueError(f"a picture of shape {image.shape}; wanted at most {MAX_SIDE_PX} pixels a side")
    return np.ascontiguousarray(image)


def _reduction(pitch: float) -> int:
    """Return the largest reduction that leaves one pixel for each of a crop that has pitch of them for each."""
    return max((reduction for reduction in REDUCTIONS if reduction <= pitch), default=1)
