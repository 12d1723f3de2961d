"""A folder of stored face crops, as `facetell crop` makes it and training, evaluation and export read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .cut import centre, closer
from .errors import DatasetError, ImageError
from .images import read_image
from .manifest import Record

CROP_SETTINGS = "crop.json"
MARGIN_RATIO = 1.5
"""Side of the square that is cut over the longer side of the face box: hair, ears and some background, where swaps join
and generators fail. Training shows up to all of it."""

SHOWN_RATIO = 1.3
"""Side of the view that the network scores, the enlarged centre of that square, over the longer side of the face box.
Networks that were trained on wider views separate unseen sources better with 1.1 to 1.3 (docs/recipe.md)."""

MIN_FACE_PX = 48.0
"""Longer side of the smallest face box that is judged: below it, more than 2 % of real faces are called fake
(docs/face-path.md)."""


@dataclass(frozen=True)
class CropSettings:
    """How faces become crops; a bundle carries it on, so that the edge cuts them alike."""

    input_size_px: int = 224
    """The network's input; stored crops are a seventh larger."""
    margin_ratio: float = MARGIN_RATIO
    shown_ratio: float = SHOWN_RATIO
    min_face_px: float = MIN_FACE_PX
    faces: str = "largest"
    """largest or all."""
    pre_cropped: bool = False
    """The pictures are face crops already: only resize them."""


def read_crop_settings(crops: Path) -> CropSettings:
    """Return the settings that a crops folder was made with.

    Raises DatasetError when it is no such folder, or was made by an earlier version.
    """
    try:
        settings = json.loads((crops / CROP_SETTINGS).read_text())["settings"]
        if "shown_ratio" not in settings:
            raise DatasetError(f"{crops} was made by an earlier facetell; make it again with: facetell crop")
        return CropSettings(**settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{crops} is not a crops folder; make it with: facetell crop DATASET -o {crops}") from error


def read_crop(crops: Path, record: Record) -> np.ndarray:
    """Return a stored crop, (S, S, 3) uint8 RGB; raises DatasetError naming the file when it cannot be read."""
    try:
        return read_image(crops / record.path)
    except ImageError as error:
        raise DatasetError(f"{crops / record.path}: {error}; make the crops again with: facetell crop") from error


def network_view(crop: np.ndarray, record: Record, settings: CropSettings) -> np.ndarray:
    """Return the view of a stored crop that the network scores, as a scan cuts it, (S, S, 3) uint8 RGB."""
    return closer(centre(crop, settings.input_size_px), record.room_ratio / settings.shown_ratio)
