"""Where in a face the network saw what decided."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from .bundle import EXPLAIN
from .detector import Detector
from .draw import COLOURS, draw_line
from .errors import ImageError, ModelError
from .files import unused
from .images import Picture, write_image
from .results import DOUBTS, FaceResult, FileResult, VideoResult
from .runtime import TFLiteModel

MEANING = (
    "Orange speaks for a fake, blue for a real face; what all places say adds up to the score. It shows where the "
    "network looked, coarsely, and not what was changed or why."
)

MAX_SHEET_FACES = 20
"""More would make a picture that no JPEG holds."""

_FULL_EVIDENCE = 20.0  # log-odds at which a place is painted as strongly as any
_LARGEST_EVIDENCE = 1e3  # a network that is sure beyond all measure gives infinity
_OPACITY = 0.7
_PANEL_PX = 448
_GAP_PX = 8


def save_sheets(results: Iterable[FileResult], explainer: Explainer, folder: Path) -> Generator[FileResult]:
    """Write the sheet of each picture with a face as folder/NAME.png, then pass its result on.

    A second picture of one name is called NAME-2. Raises SourceError when a sheet cannot be written.
    """
    for result in results:
        if result.faces and not isinstance(result, VideoResult):
            with suppress(ImageError):  # it may be gone by now
                path = Path(result.path)
                write_image(explainer.sheet_of(path), unused(folder / f"{path.stem}.png"))
        yield result


class Explainer:
    """Tells what each place of a face adds to its score, in any thread."""

    def __init__(self, detector: Detector) -> None:
        """Load the explain.tflite of a detector's bundle; raises ModelError when it has none that can be run."""
        bundle = detector.bundle
        if bundle.explainer is None:
            raise ModelError(f"the model {bundle.name} has no {EXPLAIN}; facetell export writes it where it can")
        self._model = TFLiteModel(bundle.explainer, detector.classifier.runtime)
        self._detector = detector

    def evidence(self, crop: np.ndarray) -> np.ndarray:
        """Return the log-odds of a fake that each place of a (S, S, 3) uint8 RGB crop of the input size adds, (h, w).

        Their mean is the crop's score before the sigmoid (class activation mapping, Zhou et al. 2016,
        arXiv:1512.04150).
        """
        (evidence,) = (output[0, ..., 0] for output in self._model.run(crop[np.newaxis]) if output.ndim == 4)
        return np.clip(evidence, -_LARGEST_EVIDENCE, _LARGEST_EVIDENCE)

    def sheet_of(self, path: Path) -> np.ndarray:
        """Return the sheet of a picture file as scan_file sees it; raises ImageError where no face is scored."""
        picture = Picture(path, max_megapixels=self._detector.max_megapixels)
        image, found = self._detector.read(picture)
        shown = picture.width_px / image.shape[1]
        faces = [face.scaled(1 / shown) for face in self._detector.judge(image, found, shown)]
        if all(face.p_fake is None for face in faces):
            raise ImageError("no face that can be judged")
        return self.sheet(image, faces)

    def sheet(self, image: np.ndarray, faces: Sequence[FaceResult]) -> np.ndarray:
        """Return a (H, W, 3) uint8 RGB page: a row for each face with a score, what the network saw and its evidence.

        It has the first MAX_SHEET_FACES of them, and must have one.
        """
        scored = [face for face in faces if face.p_fake is not None][:MAX_SHEET_FACES]
        crops = [self._detector.crop(image, face.box_xyxy, face.roll_degrees) for face in scored]
        return draw_sheet(scored, crops, [self.evidence(crop) for crop in crops])


def draw_sheet(faces: Sequence[FaceResult], crops: Sequence[np.ndarray], evidence: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sheet of faces, given each one's crop, (S, S, 3) uint8 RGB, and evidence."""
    rows = []
    for face, crop, heat in zip(faces, crops, evidence, strict=True):
        seen = cv2.resize(crop, (_PANEL_PX, _PANEL_PX), interpolation=cv2.INTER_CUBIC)
        painted = _laid_over(seen, heat)
        said = DOUBTS[face.doubt] if face.doubt else face.verdict
        draw_line(seen, f"{said}, p(fake) {face.p_fake:.2f}", COLOURS[face.verdict])
        gap = np.full((_PANEL_PX, _GAP_PX, 3), 255, np.uint8)
        rows += [np.hstack([seen, gap, painted]), np.full((_GAP_PX, 2 * _PANEL_PX + _GAP_PX, 3), 255, np.uint8)]
    return np.vstack(rows[:-1])


def _laid_over(picture: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    strength = cv2.resize(evidence, (width, height), interpolation=cv2.INTER_LINEAR) / _FULL_EVIDENCE
    colour = np.where(strength[..., None] > 0, COLOURS["fake"], COLOURS["real"])
    opacity = np.minimum(np.abs(strength), 1)[..., None] * _OPACITY
    return (picture * (1 - opacity) + colour * opacity).round().astype(np.uint8)
