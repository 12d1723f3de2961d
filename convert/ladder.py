"""The ladder to an int8 file that says what the float one says: rung by rung, until one holds wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..edge.crops import CropSettings, network_view, read_crop, read_crop_settings
from ..edge.cut import closer
from ..edge.manifest import Record
from .finetune import fine_tune
from .quantize import equalise, int8_file, prepare, set_ranges
from .simulate import observe

CALIBRATION_CROPS = 320
"""Training crops, balanced over sources and labels, that set ranges."""

FINE_TUNE_PICTURES = 48_000
"""Shown in a fine-tune, at most thirty times each: beyond that the validation drift no longer falls."""

_MAX_PASSES = 30
_BATCH = 32


@dataclass(frozen=True)
class Rung:
    """One way to quantise."""

    name: str
    int8_below: float
    """Side of the maps, as a share of the picture's, from which on convolutions run in 8 bits; 0: only weights are."""
    fine_tuned: bool


RUNGS = (
    Rung("calibrated", 1 / 16, fine_tuned=False),
    Rung("fine-tuned", 1 / 16, fine_tuned=True),
    Rung("fine-tuned, 8 bits in the last stage", 1 / 32, fine_tuned=True),
    Rung("fine-tuned, 8 bits in the weights alone", 0, fine_tuned=True),
)


def build(
    rung: Rung,
    float32: bytes,
    crops: Path,
    training: Sequence[Record],
    calibration: Sequence[Record],
    progress: Callable[[str], None],
) -> bytes:
    """Return the int8 file that a rung makes of the float32 one, by crops of the training split.

    Raises ModelError when the network holds an operation that cannot be quantised.
    """
    graph = prepare(float32, rung.int8_below)
    settings = read_crop_settings(crops)
    images = [network_view(read_crop(crops, record), record, settings) for record in calibration]
    values = observe(graph, images)
    equalise(graph, values)
    set_ranges(graph, observe(graph, images))
    if rung.fine_tuned:
        steps = max(1, min(FINE_TUNE_PICTURES, _MAX_PASSES * len(training)) // _BATCH)
        graph = fine_tune(graph, _batches(crops, training, settings), steps, progress)
    return int8_file(graph)


def _batches(crops: Path, records: Sequence[Record], settings: CropSettings) -> Iterator[np.ndarray]:
    """Yield batches (32, S, S, 3) float32 of training crops without end, each shifted within its rim or mirrored."""
    rng, size_px = np.random.default_rng(0), settings.input_size_px
    while True:
        images = []
        for index in rng.integers(0, len(records), _BATCH):
            image = read_crop(crops, records[index])
            top, left = rng.integers(0, image.shape[0] - size_px + 1, 2)
            image = image[top : top + size_px, left : left + size_px]
            image = closer(image, records[index].room_ratio / settings.shown_ratio)
            images.append(image[:, ::-1] if rng.random() < 0.5 else image)
        yield np.stack(images).astype(np.float32)
