"""Which picture trains, validates or tests: by group, stratified, with near-duplicates kept on one side."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

from ..edge.crops import read_crop
from ..edge.errors import DatasetError
from ..edge.manifest import (
    EXCLUDED,
    LABELS,
    RESERVED,
    SPLITS,
    STRICTNESS,
    Record,
    read_manifest,
    split_sha256,
    write_manifest,
)

_PARTS = 20  # ratios are kept to a twentieth

NEAR_DUPLICATE_BITS = 12
"""Two crops whose 256-bit perceptual hashes differ in at most this many bits are near-duplicates."""

_HASH_SIDE = 16


@dataclass(frozen=True)
class SplitReport:
    """How a data set was split."""

    records: list[Record]
    near_duplicates: int
    """Pictures that look like another one."""
    sha256: str
    """Of the split; every later report names it."""

    def counts(self) -> Counter[tuple[str, str, str]]:
        """Return the number of pictures by source, label and split."""
        return Counter((record.source, record.label, record.split) for record in self.records)


def split(
    crops: Path,
    *,
    ratios: Sequence[float] = (0.7, 0.15, 0.15),
    reserve: Collection[str] = (),
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SplitReport:
    """Write the split of every picture into the manifest of a merged or cropped folder.

    A split that the source states stays. Where a source states train but no validation, its train part gives one up.
    Pictures of one group, and near-duplicates, share a split; where stated splits tear them apart, the training side
    is excluded. The same seed and pictures give the same split.

    ratios are those of train, validation and test, and add up to 1. All pictures of the sources in reserve are reserved
    for thresholds; whatever shares a group with them or resembles them is excluded from every other split.

    Raises DatasetError when there are too few groups, nothing of a label is left to train or validate with, a source
    to be reserved is not there, or all of them together lack a label.
    """
    records = read_manifest(crops)
    _check_reserve(crops, records, reserve)
    hashes = []
    for number, record in enumerate(records):
        hashes.append(perceptual_hash(read_crop(crops, record)))
        progress(number + 1, len(records))
    clusters = near_duplicate_clusters(np.stack(hashes))
    units = _join_groups([record.group for record in records], clusters)
    stated = _stated_splits(records, units)
    splits = _assign(records, units, stated, ratios, seed)
    splits = [RESERVED if record.source in reserve else part for record, part in zip(records, splits, strict=True)]
    splits = _exclude_leaks(splits, clusters.tolist(), [record.group for record in records])
    decided = [replace(record, split=part) for record, part in zip(records, splits, strict=True)]
    _check_enough(decided)
    write_manifest(crops, decided)
    sizes = Counter(clusters.tolist())
    return SplitReport(decided, sum(size for size in sizes.values() if size > 1), split_sha256(decided))


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """Return the 256-bit perceptual hash (DCT, imagehash.phash) of a (H, W, 3) uint8 RGB picture as (256,) bool."""
    return imagehash.phash(Image.fromarray(image), hash_size=_HASH_SIDE).hash.ravel()


def near_duplicate_clusters(hashes: np.ndarray, max_bits: int = NEAR_DUPLICATE_BITS) -> np.ndarray:
    """Return a cluster number (N,) for hashes (N, 256) bool; pictures at most max_bits apart share one.

    Two hashes that differ in at most max_bits bits agree in at least one of max_bits + 1 bands, so only pictures that
    share a band are compared, and of equal ones the first alone.
    """
    if not len(hashes):
        return np.array([], int)
    _, first, alike = np.unique(np.packbits(hashes, axis=1), axis=0, return_index=True, return_inverse=True)
    return first[_clusters(hashes[first], max_bits)][alike.ravel()]


def _clusters(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    parents = list(range(len(hashes)))
    for band in np.array_split(np.arange(hashes.shape[1]), max_bits + 1):
        buckets = defaultdict(list)
        for index, key in enumerate(np.packbits(hashes[:, band], axis=1)):
            buckets[key.tobytes()].append(index)
        for bucket in buckets.values():
            # From each picture to those near it, and on from these: what is in a cluster is not compared again.
            rest, waiting = np.array(bucket), []
            while len(rest):
                if not waiting:
                    waiting, rest = [int(rest[0])], rest[1:]
                index = waiting.pop()
                is_near = (hashes[rest] != hashes[index]).sum(axis=1) <= max_bits
                near, rest = rest[is_near].tolist(), rest[~is_near]
                for other in near:
                    _unite(parents, index, other)
                waiting += near
    return np.array([_find(parents, index) for index in range(len(hashes))], dtype=int)


def _join_groups(groups: Sequence[str], clusters: np.ndarray) -> np.ndarray:
    """Return unit numbers (N,): pictures connected by a shared group or cluster share a unit."""
    parents = list(range(len(groups)))
    first: dict[object, int] = {}
    for index, (group, cluster) in enumerate(zip(groups, clusters.tolist(), strict=True)):
        for key in (group, cluster):
            _unite(parents, first.setdefault(key, index), index)
    return np.array([_find(parents, index) for index in range(len(groups))], dtype=int)


def _find(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def _unite(parents: list[int], one: int, other: int) -> None:
    one, other = _find(parents, one), _find(parents, other)
    parents[max(one, other)] = min(one, other)


def _stated_splits(records: Sequence[Record], units: np.ndarray) -> list[str]:
    """Return the split that is settled for each picture, empty where it is to be drawn.

    A picture without a stated split follows its unit. Where that unit states several, training follows, and
    _exclude_leaks settles the rest.
    """
    stated_by_unit = defaultdict(set)
    for record, unit in zip(records, units, strict=True):
        if record.stated_split:
            stated_by_unit[unit].add(record.stated_split)
    settled = []
    for record, unit in zip(records, units, strict=True):
        inherited = next((part for part in SPLITS if part in stated_by_unit[unit]), "")
        settled.append(record.stated_split or inherited)
    return settled


def _assign(
    records: Sequence[Record], units: np.ndarray, stated: Sequence[str], ratios: Sequence[float], seed: int
) -> list[str]:
    splits = np.array(stated, dtype=object)
    strata = np.array([f"{record.source} {record.label}" for record in records])
    sources = np.array([record.source for record in records])
    _draw(splits, np.flatnonzero(splits == ""), strata, units, dict(zip(SPLITS, ratios, strict=True)), seed)
    train, validation, _ = ratios
    for source in np.unique(sources):
        parts = {record.stated_split for record in records if record.source == source}
        members = np.flatnonzero((sources == source) & (splits == "train"))
        if "train" in parts and "validation" not in parts and _fold_count(members, strata, units) > 1:
            share = {"train": train / (train + validation), "validation": validation / (train + validation)}
            _draw(splits, members, strata, units, share, seed)
    return splits.tolist()


def _draw(
    splits: np.ndarray, indices: np.ndarray, strata: np.ndarray, units: np.ndarray, ratios: dict[str, float], seed: int
) -> None:
    """Spread the pictures at indices over the splits in proportion, whole units at a time, strata alike."""
    if not len(indices):
        return
    folds = _fold_count(indices, strata, units)
    wanted = {part: ratio for part, ratio in ratios.items() if ratio}
    if folds < len(wanted):
        raise DatasetError(
            f"{len(indices)} pictures in {len(np.unique(units[indices]))} groups are too few for {len(wanted)} splits; "
            "add pictures"
        )
    ends = np.round(np.cumsum(list(wanted.values())) * folds).astype(int)
    ends = np.clip(ends, np.arange(1, len(wanted) + 1), folds - np.arange(len(wanted))[::-1])
    of_fold = np.repeat(list(wanted), np.diff(ends, prepend=0))
    folder = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # a tiny source cannot stand in every fold
        for part, (_, members) in zip(of_fold, folder.split(indices, strata[indices], units[indices]), strict=True):
            splits[indices[members]] = part


def _check_reserve(crops: Path, records: Sequence[Record], reserve: Collection[str]) -> None:
    known = {record.source for record in records}
    if unknown := set(reserve) - known:
        raise DatasetError(
            f"{crops} has no source {', '.join(sorted(unknown))} to reserve; wanted one of {', '.join(sorted(known))}"
        )
    missing = set(LABELS) - {record.label for record in records if record.source in reserve}
    if reserve and missing:
        raise DatasetError(
            f"the sources to reserve have no {min(missing)} pictures, and thresholds need both labels; reserve another "
            "source beside them"
        )


def _check_enough(records: Sequence[Record]) -> None:
    left = Counter((record.split, record.label) for record in records)
    excluded, reserved = (sum(record.split == part for record in records) for part in (EXCLUDED, RESERVED))
    if not (excluded or reserved):
        return  # a set that states a test part alone is for evaluation, and training says what it lacks
    for part, label in product(("train", "validation"), LABELS):
        if not left[part, label]:
            raise DatasetError(
                f"no {label} pictures are left for {part} ({excluded} excluded because their group or a near-duplicate "
                f"stands in a stricter split, {reserved} reserved); add pictures, reserve fewer sources, or fix the "
                "groups or splits that the sources state"
            )


def _fold_count(indices: np.ndarray, strata: np.ndarray, units: np.ndarray) -> int:
    """Return into how many folds the pictures at indices can be dealt, 0 for none."""
    return min(_PARTS, len(np.unique(units[indices])), max(Counter(strata[indices].tolist()).values(), default=0))


def _exclude_leaks(splits: Sequence[str], *keys_of_pictures: Sequence[object]) -> list[str]:
    """Exclude the earlier side (train, validation, test, reserved) of whatever shares a key and stands on two."""
    decided = list(splits)
    for keys in keys_of_pictures:
        last: dict[object, int] = defaultdict(int)
        for part, key in zip(splits, keys, strict=True):
            last[key] = max(last[key], STRICTNESS.index(part))
        for index, (part, key) in enumerate(zip(splits, keys, strict=True)):
            if STRICTNESS.index(part) < last[key]:
                decided[index] = EXCLUDED
    return decided
