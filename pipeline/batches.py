"""Face crops in batches for training: augmented, and balanced over labels and sources."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
import psutil

from ..edge.crops import read_crop
from ..edge.manifest import LABELS, Record
from .augment import augment
from .blend import self_blend

CACHE_BYTES = 4 * 2**30
"""At most, or half of the free memory: a container may have less than its machine says. 21,000 crops of 256 px."""


class CropCache:
    """Stored crops, (S, S, 3) uint8 RGB, decoded once each as long as there is room for them."""

    def __init__(self, crops: Path, records: Sequence[Record], limit_bytes: int = CACHE_BYTES):
        self.records = records
        self._crops, self._kept = crops, dict[int, np.ndarray]()
        self._room_bytes = min(limit_bytes, psutil.virtual_memory().available // 2)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the crop of a record; not to be written to. Raises DatasetError when it cannot be read."""
        if index in self._kept:
            return self._kept[index]
        crop = read_crop(self._crops, self.records[index])
        if crop.nbytes <= self._room_bytes and self._kept.setdefault(index, crop) is crop:  # not another thread's
            self._room_bytes -= crop.nbytes
        return crop


SELF_BLEND = "/self-blend"
"""Stands among the kinds of fakes beside the names of their sources, which hold no slash."""


class TrainingBatches(keras.utils.PyDataset):
    """One epoch of augmented batches, every other crop a fake: what build_network takes and should give for it.

    Images are (B, shown_px, shown_px, 3) float32 RGB 0..255: views of size_px, shrunken. p_fake is (B, 1) and kind,
    real or one of kinds_of_fakes, (B, 1 + K), float32 0 or 1. Every batch depends on seed, epoch and its index alone,
    so that a resumed run sees what a whole one would have. A share of the fakes gives way to self-blends of the real
    faces in the same batch; their face boxes are the middle face_px squares of the crops.
    """

    def __init__(
        self,
        crops: CropCache,
        size_px: int,
        shown_px: int,
        batch_size: int,
        seed: int,
        epoch: int,
        self_blend_share: float,
        face_px: float,
    ):
        super().__init__(workers=2, max_queue_size=8)
        self._crops, self._size_px, self._shown_px, self._batch_size = crops, size_px, shown_px, batch_size
        self._self_blend_share, self._face_px = self_blend_share, face_px
        self._seed = (seed, epoch)
        self._kinds = kinds_of_fakes(crops.records, self_blend_share)
        self._order = balanced_order(crops.records, np.random.default_rng(self._seed))
        self._real = [number for number, record in enumerate(crops.records) if not record.is_fake]
        self.pictures = len(self) * min(batch_size, len(self._order))

    def __len__(self) -> int:
        """Return the number of whole batches."""
        return max(1, len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return images and truths of one batch."""
        rng = np.random.default_rng((*self._seed, index))
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        records = [self._crops.records[number] for number in chosen]
        real = [number for number, record in zip(chosen, records, strict=True) if not record.is_fake] or self._real
        images, kinds = [], []
        for number, record in zip(chosen, records, strict=True):
            crop, kind = self._crops[number], record.source if record.is_fake else None
            if record.is_fake and rng.random() < self._self_blend_share:
                crop, kind = self_blend(self._crops[rng.choice(real)], self._face_px, rng), SELF_BLEND
            images.append(shrink(augment(crop, self._size_px, rng), self._shown_px))
            kinds.append(kind)
        truth = np.array([[kind == name for name in self._kinds] for kind in kinds], np.float32)
        is_real = 1 - truth.sum(axis=1, keepdims=True)
        return np.stack(images).astype(np.float32), {"p_fake": 1 - is_real, "kind": np.hstack([is_real, truth])}


def shrink(image: np.ndarray, side_px: int) -> np.ndarray:
    """Return a square (S, S, 3) uint8 picture at side_px, at most S."""
    return image if len(image) == side_px else cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)


def kinds_of_fakes(records: Sequence[Record], self_blend_share: float) -> list[str]:
    """Return the sources that have fakes, and SELF_BLEND where there are any."""
    return sorted({record.source for record in records if record.is_fake}) + [SELF_BLEND] * (self_blend_share > 0)


def balanced_order(records: Sequence[Record], rng: np.random.Generator) -> np.ndarray:
    """Return one epoch as about as many indices of records as there are records, real and fake in turn.

    Within a label a picture is shown in proportion to 1 / sqrt(size of its source): a small source is seen more often
    than its share, without being learnt by heart. A source of one label alone still gives that label away.
    """
    return np.stack([_order_of(label, records, rng) for label in LABELS], axis=1).reshape(-1)


def _order_of(label: str, records: Sequence[Record], rng: np.random.Generator) -> np.ndarray:
    """Return indices of a label's records in a random order, half as many as there are records in all."""
    own = np.array([index for index, record in enumerate(records) if record.label == label])
    sizes = Counter(record.source for record in records)
    shares = np.array([sizes[records[index].source] ** -0.5 for index in own])
    times = shares / shares.sum() * math.ceil(len(records) / 2)
    whole = np.floor(times).astype(int)
    missing = math.ceil(len(records) / 2) - whole.sum()
    rest = (times - whole) / max((times - whole).sum(), 1e-9)
    extra = rng.choice(len(own), missing, replace=False, p=rest) if missing else np.array([], int)
    return rng.permutation(np.concatenate([np.repeat(own, whole), own[extra]]))
