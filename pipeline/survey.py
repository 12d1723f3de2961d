"""What a data set holds: every picture measured once."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import astuple, dataclass, fields, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np

from ..edge.errors import ImageError
from ..edge.images import Picture, read_image
from ..edge.manifest import EXCLUDED, MANIFEST, STRICTNESS, Record, has_manifest, read_manifest
from ..edge.tables import write_csv
from ..edge.video import SUFFIXES as VIDEOS
from .leaks import Leak, find_leaks
from .sources import FolderSource, Source, open_sources
from .split import near_duplicate_clusters, perceptual_hash
from .tags import Tags, stricter, tagged_pictures
from .traits import Traits, traits

BOTH_LABELS, NO_LABEL, UNREADABLE = "both labels", "no label", "unreadable"
_LARGE_PX = 16_000_000  # pictures above it are measured one at a time: each needs many times its size
_one_large = Lock()


@dataclass(frozen=True)
class Seen:
    """A picture that could be read and has one label."""

    record: Record
    traits: Traits
    hash: np.ndarray
    """(256,) bool; see perceptual_hash."""


@dataclass(frozen=True)
class LeftOut:
    """A picture that trains nothing as it is."""

    path: str
    kind: str
    """BOTH_LABELS, NO_LABEL, UNREADABLE or EXCLUDED."""
    detail: str = ""
    sha256: str = ""
    """Of a picture of both labels, whose copies merge leaves out, too."""


@dataclass(frozen=True)
class Survey:
    """What was found; pictures are in the order of their names."""

    source: Source
    is_merged: bool
    """Whether the data set has been merged, or is of crops."""
    seen: Sequence[Seen]
    left_out: Sequence[LeftOut]
    videos: int
    """Files that are videos, of which nothing is trained."""

    @cached_property
    def kept(self) -> list[Seen]:
        """What merge keeps: each picture once, in the strictest of its splits, and none that has both labels."""
        by_hash: dict[str, Seen] = {}
        barred = {left.sha256 for left in self.left_out}
        for one in self.seen:
            known = by_hash.setdefault(one.record.sha256, one).record
            if known.label != one.record.label:
                barred.add(known.sha256)
            split = stricter(known.split, one.record.split)
            by_hash[known.sha256] = replace(by_hash[known.sha256], record=replace(known, split=split))
        return [one for sha256, one in by_hash.items() if sha256 not in barred]

    def count(self, label: str, split: str | None = None) -> int:
        """Return how many pictures of a label, and of one split, merge keeps."""
        records = (one.record for one in self.kept)
        return sum(record.label == label and split in (None, record.split) for record in records)

    @property
    def splits(self) -> list[str]:
        """The splits that are stated or decided, in their order; empty when there are none."""
        found = {one.record.split for one in self.kept}
        return [split for split in STRICTNESS if split in found]

    @property
    def sources(self) -> list[str]:
        """The data sets that the pictures are of."""
        return sorted({one.record.source for one in self.kept})

    @cached_property
    def copies(self) -> list[list[Seen]]:
        """Pictures of the same bytes, two or more each; those of two splits, then of two labels come first."""
        by_hash = defaultdict(list)
        for one in self.seen:
            by_hash[one.record.sha256].append(one)
        return _worst_first(by_hash.values())

    @cached_property
    def look_alikes(self) -> list[list[Seen]]:
        """Near-duplicates that are no copies, two or more each; those of two splits, then of two labels come first."""
        by_cluster = defaultdict(list)
        if self.kept:
            clusters = near_duplicate_clusters(np.stack([one.hash for one in self.kept]))
            for one, cluster in zip(self.kept, clusters.tolist(), strict=True):
                by_cluster[cluster].append(one)
        return _worst_first(by_cluster.values())

    @cached_property
    def leaks(self) -> list[Leak]:
        """What file, size and light tell of the labels; empty where there are too few pictures to say."""
        return find_leaks([(one.record, one.traits) for one in self.kept])

    def read(self, one: Seen) -> np.ndarray:
        """Return a picture again, (H, W, 3) uint8 RGB."""
        return read_image(self.source.read(PurePosixPath(one.record.path)))

    def write_csv(self, path: Path) -> None:
        """Write a row for each picture with what was measured, and what is wrong with it."""
        remarks = {
            one.record.path: (remark, f"of {same[0].record.path}")
            for remark, sets in (("near-duplicate", self.look_alikes), ("same bytes", self.copies))
            for same in sets
            for one in same[1:]
        }
        head = ("path", "label", "source", "split", "remark", "detail", *(field.name for field in fields(Traits)))
        known = (
            (
                *(one.record.path, one.record.label, one.record.source, one.record.split),
                *remarks.get(one.record.path, ("", "")),
                *(round(value, 4) if isinstance(value, float) else value for value in astuple(one.traits)),
            )
            for one in self.seen
        )
        left = ((left.path, "", "", "", left.kind, left.detail) for left in self.left_out)
        write_csv(path, head, [*known, *left])


def is_torn(same: Sequence[Seen]) -> bool:
    """Whether pictures stand in more than one split."""
    return len({one.record.split for one in same} & set(STRICTNESS)) > 1


def is_contradictory(same: Sequence[Seen]) -> bool:
    """Whether pictures have both labels."""
    return len({one.record.label for one in same}) > 1


def survey(dataset: Path, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Survey:
    """Look at every picture of a raw folder or zip, a merged data set or crops.

    Raises DatasetError when it is none of these.
    """
    (source,) = open_sources([dataset])
    is_merged = has_manifest(dataset)
    pictures = _listed(dataset) if is_merged else tagged_pictures(source)
    seen: list[Seen] = []
    left_out: list[LeftOut] = []
    threads = ThreadPoolExecutor(os.cpu_count())
    try:
        for number, found in enumerate(threads.map(lambda picture: _look(*picture), pictures), start=1):
            if isinstance(found, Seen):
                seen.append(found)
            else:
                left_out.append(found)
            progress(number, len(pictures))
    finally:
        threads.shutdown(cancel_futures=True)
    videos = sum(name.suffix.lower() in VIDEOS for name in source.names())
    return Survey(source, is_merged, seen, left_out, videos)


def _listed(dataset: Path) -> list[tuple[Source, PurePosixPath, Tags, float]]:
    return [
        (
            FolderSource(record.source, dataset),
            PurePosixPath(record.path),
            Tags({record.label: MANIFEST}, (record.group,), record.split),
            record.room_ratio,
        )
        for record in read_manifest(dataset)
    ]


def _look(source: Source, name: PurePosixPath, tags: Tags, room_ratio: float = 0.0) -> Seen | LeftOut:
    path = name.as_posix()
    if not tags.labels:
        return LeftOut(path, NO_LABEL)
    if tags.split == EXCLUDED:
        return LeftOut(path, EXCLUDED, "it would tear a group or near-duplicates apart")
    try:
        content = source.read(name)
        sha256 = hashlib.sha256(content).hexdigest()
        if tags.contradiction:
            return LeftOut(path, BOTH_LABELS, tags.contradiction, sha256)
        picture = Picture(content)
        with _one_large if picture.width_px * picture.height_px > _LARGE_PX else nullcontext():
            image = picture.decode()
            found, hash_ = traits(content, image), perceptual_hash(image)
    except ImageError as error:
        return LeftOut(path, UNREADABLE, str(error))
    except OSError as error:
        return LeftOut(path, UNREADABLE, error.strerror or str(error))
    record = Record(
        path=path,
        label=next(iter(tags.labels)),
        source=source.name,
        group=tags.groups[0] if tags.groups else sha256,
        split=tags.split,
        sha256=sha256,
        width=found.width,
        height=found.height,
        stated_split=tags.split,
        room_ratio=room_ratio,
    )
    return Seen(record, found, hash_)


def _worst_first(sets: Iterable[list[Seen]]) -> list[list[Seen]]:
    alike = (same for same in sets if len(same) > 1)
    return sorted(alike, key=lambda same: (not is_torn(same), not is_contradictory(same)))
