"""Face crops in batches for training: each real face beside a fake of its own, both changed alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
import psutil

from ..edge.crops import read_crop
from ..edge.manifest import Record
from .augment import augment
from .blend import self_blend

CACHE_BYTES = 6 * 2**30
"""At most, or half of the free memory: a container may have less than its machine says. 32,000 crops of 256 px."""

LONE_BLEND_SHARE = 0.5
"""Of the fakes beside real faces of a source without fakes, at least this share are made of these faces: the fakes of
other sources alone would teach the network the source."""

FAKE_ONLY_SHARE = 0.15
"""Where a source has real faces and fakes, this share of the fakes shown beside its real faces, self-blends apart,
comes from sources without real faces."""


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
    """One epoch of augmented batches of pairs: what build_network takes and should give for it.

    Images are (B, shown_px, shown_px, 3) float32 RGB 0..255: views of size_px, shrunken. p_fake is (B, 1) and kind,
    real or one of kinds_of_fakes, (B, 1 + K), float32 0 or 1. Every batch depends on seed, epoch and its index alone,
    so that a resumed run sees what a whole one would have. The two of a pair are changed alike and framed alike: as
    widely as both have room, or at random closer, down to the face box.
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
    ):
        super().__init__(workers=2, max_queue_size=8)
        self._crops, self._size_px, self._shown_px = crops, size_px, shown_px
        self._pairs_each = max(1, batch_size // 2)
        self._seed = (seed, epoch)
        self._kinds = kinds_of_fakes(crops.records, self_blend_share)
        self._pairs = paired_order(crops.records, self_blend_share, np.random.default_rng(self._seed))
        self.pictures = 2 * len(self) * min(self._pairs_each, len(self._pairs))

    def __len__(self) -> int:
        """Return the number of whole batches."""
        return max(1, len(self._pairs) // self._pairs_each)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return images and truths of one batch."""
        rng = np.random.default_rng((*self._seed, index))
        images, kinds = [], []
        for real, fake in self._pairs[index * self._pairs_each : (index + 1) * self._pairs_each]:
            images += [shrink(image, self._shown_px) for image in self._pair(real, fake, rng)]
            kinds += [None, SELF_BLEND if fake is None else self._crops.records[fake].source]
        truth = np.array([[kind == name for name in self._kinds] for kind in kinds], np.float32)
        is_real = 1 - truth.sum(axis=1, keepdims=True)
        return np.stack(images).astype(np.float32), {"p_fake": 1 - is_real, "kind": np.hstack([is_real, truth])}

    def _pair(self, real: int, fake: int | None, rng: np.random.Generator) -> list[np.ndarray]:
        """Return a real and a fake view, (size_px, size_px, 3) uint8 RGB."""
        crop, room_ratio = self._crops[real], room(self._crops.records[real])
        if fake is None:
            other, other_ratio = self_blend(crop, self._size_px / room_ratio, rng), room_ratio
        else:
            other, other_ratio = self._crops[fake], room(self._crops.records[fake])
        widest = min(room_ratio, other_ratio)
        shown_ratio = widest if rng.random() < 0.5 else rng.uniform(1, widest)
        seed = rng.integers(2**32)
        return [
            augment(pixels, self._size_px, np.random.default_rng(seed), closer=ratio / shown_ratio)
            for pixels, ratio in ((crop, room_ratio), (other, other_ratio))
        ]


def room(record: Record) -> float:
    """Return the side of a crop's square over the longer side of the face box, at least 1."""
    return max(record.room_ratio, 1.0)


def shrink(image: np.ndarray, side_px: int) -> np.ndarray:
    """Return a square (S, S, 3) uint8 picture at side_px, at most S."""
    return image if len(image) == side_px else cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)


def kinds_of_fakes(records: Sequence[Record], self_blend_share: float) -> list[str]:
    """Return the sources that have fakes, and SELF_BLEND where there are any."""
    return sorted({record.source for record in records if record.is_fake}) + [SELF_BLEND] * (self_blend_share > 0)


def paired_order(
    records: Sequence[Record], self_blend_share: float, rng: np.random.Generator
) -> list[tuple[int, int | None]]:
    """Return one epoch of about as many pictures as there are records: indices of a real one and of a fake beside it.

    None stands for a self-blend of the real one. Beside it stands, with a chance of self_blend_share, its self-blend;
    else a fake of its own group, or of its source; where the source has none, one of a source without real faces or,
    for at least LONE_BLEND_SHARE, a self-blend. So neither the look of a source nor its framing tells the label.

    A real picture is shown in proportion to 1 / sqrt(number of its source's real pictures): a small source is seen more
    often than its share. Fakes are drawn at random beside them: those of a source with few fakes and many real pictures
    come up often, and of a source with many fakes and few real pictures most do not come up in one epoch.
    """
    real = [index for index, record in enumerate(records) if not record.is_fake]
    fake = [index for index, record in enumerate(records) if record.is_fake]
    with_reals = {records[index].source for index in real}
    by_source, by_group = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for index in fake:
        by_source[records[index].source].append(index)
        by_group[records[index].group].append(index)
    fake_only = [index for index in fake if records[index].source not in with_reals]
    pairs = (len(records) + 1) // 2
    others = iter(_drawn(records, fake_only or fake, pairs, rng))
    order: list[tuple[int, int | None]] = []
    for index in _drawn(records, real, pairs, rng):
        own = by_group[records[index].group] or by_source[records[index].source]
        lone_share = LONE_BLEND_SHARE if self_blend_share and not own else 0
        if rng.random() < max(self_blend_share, lone_share):
            order.append((index, None))
        elif own and not (fake_only and rng.random() < FAKE_ONLY_SHARE):
            order.append((index, own[rng.integers(len(own))]))
        else:
            order.append((index, next(others)))
    return order


def _drawn(records: Sequence[Record], own: Sequence[int], number: int, rng: np.random.Generator) -> list[int]:
    """Return as many indices out of own in a random order, each as often as its share says, give or take one."""
    sizes: dict[str, int] = defaultdict(int)
    for index in own:
        sizes[records[index].source] += 1
    shares = np.array([sizes[records[index].source] ** -0.5 for index in own])
    times = shares / shares.sum() * number
    whole = np.floor(times).astype(int)
    missing = number - whole.sum()
    rest = (times - whole) / max((times - whole).sum(), 1e-9)
    extra = rng.choice(len(own), missing, replace=False, p=rest) if missing else np.array([], int)
    return rng.permutation(np.concatenate([np.repeat(own, whole), np.array(own)[extra]])).tolist()
