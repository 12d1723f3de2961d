"""What a data set holds: every picture measured once."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from ..edge.errors import ImageError
from ..edge.files import replacing
from ..edge.images import read_image
from ..edge.manifest import MANIFEST, SPLITS, Record, read_manifest
from ..edge.results import spreadsheet_safe
from ..edge.video import SUFFIXES as VIDEOS
from .leaks import Leak, find_leaks
from .sources import FolderSource, Source, open_sources
from .split import near_duplicate_clusters, perceptual_hash
from .tags import Tags, tagged_pictures
from .traits import Traits, traits


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
    """unreadable, both labels or no label."""
    detail: str


@dataclass(frozen=True)
class Survey:
    """What was found; pictures are in the order of their names."""

    source: Source
    seen: Sequence[Seen]
    left_out: Sequence[LeftOut]
    videos: int
    """Files that are videos, of which nothing is trained."""

    def count(self, *, label: str = "", split: str | None = None) -> int:
        """Return the number of pictures of a label, or all, and of a split, or all."""
        records = (one.record for one in self.seen)
        return sum(label in ("", record.label) and split in (None, record.split) for record in records)

    @property
    def splits(self) -> list[str]:
        """The splits that are stated or decided, in their order; empty when there are none."""
        found = {one.record.split for one in self.seen}
        return [split for split in SPLITS if split in found]

    @property
    def sources(self) -> list[str]:
        """The data sets that the pictures are of."""
        return sorted({one.record.source for one in self.seen})

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
        different = list({one.record.sha256: one for one in self.seen}.values())
        by_cluster = defaultdict(list)
        if different:
            clusters = near_duplicate_clusters(np.stack([one.hash for one in different]))
            for one, cluster in zip(different, clusters.tolist(), strict=True):
                by_cluster[cluster].append(one)
        return _worst_first(by_cluster.values())

    @cached_property
    def leaks(self) -> list[Leak]:
        """What file, size and light tell of the labels; empty where there are too few pictures to say."""
        return find_leaks([(one.record, one.traits) for one in self.seen])

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
        columns = ("path", "label", "source", "split", "remark", "detail", *(field.name for field in fields(Traits)))
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8", errors="replace") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for one in self.seen:
                known = one.record
                cells = (known.path, known.label, known.source, known.split, *remarks.get(known.path, ("", "")))
                numbers = (f"{value:.6g}" if isinstance(value, float) else value for value in astuple(one.traits))
                writer.writerow((*map(spreadsheet_safe, cells), *numbers))
            for left in self.left_out:
                writer.writerow(map(spreadsheet_safe, (left.path, "", "", "", left.kind, left.detail)))


def _worst_first(sets: Iterable[list[Seen]]) -> list[list[Seen]]:
    alike = (same for same in sets if len(same) > 1)
    return sorted(alike, key=lambda same: (not is_torn(same), not is_contradictory(same)))


def is_torn(same: Sequence[Seen]) -> bool:
    """Whether pictures stand in more than one split."""
    return len({one.record.split for one in same} & set(SPLITS)) > 1


def is_contradictory(same: Sequence[Seen]) -> bool:
    """Whether pictures have both labels."""
    return len({one.record.label for one in same}) > 1


def survey(dataset: Path, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Survey:
    """Look at every picture of a raw folder or zip, a merged data set or crops.

    Raises DatasetError when it is none of these.
    """
    (source,) = open_sources([dataset])
    pictures = _listed(dataset) if (dataset / MANIFEST).exists() else tagged_pictures(source)
    seen: list[Seen] = []
    left_out: list[LeftOut] = []
    threads = ThreadPoolExecutor()
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
    return Survey(source, seen, left_out, videos)


def _listed(dataset: Path) -> list[tuple[Source, PurePosixPath, Tags]]:
    return [
        (
            FolderSource(record.source, dataset),
            PurePosixPath(record.path),
            Tags({record.label: MANIFEST}, (record.group,), record.split),
        )
        for record in read_manifest(dataset)
    ]


def _look(source: Source, name: PurePosixPath, tags: Tags) -> Seen | LeftOut:
    path = name.as_posix()
    if len(tags.labels) != 1:
        return LeftOut(path, "both labels" if tags.labels else "no label", tags.contradiction)
    try:
        content = source.read(name)
        image = read_image(content)
    except (ImageError, OSError) as error:
        return LeftOut(path, "unreadable", str(error))
    found = traits(content, image)
    sha256 = hashlib.sha256(content).hexdigest()
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
    )
    return Seen(record, found, perceptual_hash(image))
