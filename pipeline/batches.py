"""Face crops in batches for training: augmented, and balanced over labels and sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

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
        if crop.nbytes <= self._room_bytes:
            self._room_bytes -= crop.nbytes
            self._kept[index] = crop
        return crop


class TrainingBatches(keras.utils.PyDataset):
    """One epoch of augmented batches: (B, S, S, 3) float32 RGB 0..255, labels (B, 1), weights (B,).

    Every batch depends on seed, epoch and its index alone, so that a resumed run sees what a whole one would have. A
    share of the fakes gives way to self-blends of the real faces in the same batch; their face boxes are the middle
    face_px squares of the crops.
    """

    def __init__(
        self,
        crops: CropCache,
        size_px: int,
        batch_size: int,
        seed: int,
        epoch: int,
        self_blend_share: float,
        face_px: float,
    ):
        super().__init__(workers=2, max_queue_size=8)
        self._crops, self._size_px, self._batch_size = crops, size_px, batch_size
        self._self_blend_share, self._face_px = self_blend_share, face_px
        self._seed = (seed, epoch)
        records = crops.records
        rng = np.random.default_rng(self._seed)
        repeats = source_repeats(records)
        repeats = np.floor(repeats) + (rng.random(len(records)) < repeats % 1)
        self._order = rng.permutation(np.repeat(np.arange(len(records)), repeats.astype(int)))
        self._weights = class_weights(records)

    def __len__(self) -> int:
        """Return the number of whole batches."""
        return max(1, len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return images, labels (1 = fake) and sample weights of one batch."""
        rng = np.random.default_rng((*self._seed, index))
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        records = [self._crops.records[number] for number in chosen]
        real = [number for number, record in zip(chosen, records, strict=True) if not record.is_fake]
        images = []
        for number, record in zip(chosen, records, strict=True):
            crop = self._crops[number]
            if record.is_fake and real and rng.random() < self._self_blend_share:
                crop = self_blend(self._crops[rng.choice(real)], self._face_px, rng)
            images.append(augment(crop, self._size_px, rng))
        labels = np.array([[record.is_fake] for record in records], np.float32)
        weights = np.array([self._weights[record.label] for record in records], np.float32)
        return np.stack(images).astype(np.float32), labels, weights


def source_repeats(records: Sequence[Record]) -> np.ndarray:
    """Return how often an epoch shows each picture on average, (N,): in proportion to 1 / sqrt(size of its source).

    A small source is thus seen more often than its share, without being learnt by heart. The mean is 1.
    """
    sizes = Counter(record.source for record in records)
    repeats = np.array([sizes[record.source] ** -0.5 for record in records])
    return repeats / repeats.mean()


def class_weights(records: Sequence[Record]) -> dict[str, float]:
    """Return the weight of each label that makes both count the same in an epoch."""
    repeats = source_repeats(records)
    labels = np.array([record.label for record in records])
    return {label: float(repeats.sum() / (2 * repeats[labels == label].sum())) for label in LABELS}
