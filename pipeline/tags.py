"""What folders and csvs state of the pictures in a raw data set: label, group, split."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ..edge.images import SUFFIXES
from ..edge.manifest import STRICTNESS
from .sources import LABEL_FOLDERS, SPLIT_FOLDERS, Source

CSV_COLUMNS = {
    "file": ("file", "path", "filename", "file_name", "image", "image_path", "original_path", "videoname", "name"),
    "label": ("label_str", "label", "class", "target"),
    "group": ("group", "source_video", "original", "video", "subject", "identity", "person"),
    "split": ("split", "set", "subset", "partition"),
}
"""Headers that are understood, first match wins."""

_MEDIA = (*SUFFIXES, ".mp4", ".avi", ".mov", ".mkv", ".webm")


@dataclass(frozen=True)
class Tags:
    """What is stated of a picture."""

    labels: dict[str, str]
    """Label -> who says so; a picture with two stays out."""
    groups: tuple[str, ...]
    split: str

    def also(self, other: Tags) -> Tags:
        """Return both statements in one: all labels, all groups, the stricter split."""
        return Tags(self.labels | other.labels, self.groups + other.groups, stricter(self.split, other.split))

    @property
    def contradiction(self) -> str:
        """Who says what, where that is not the same."""
        return ", ".join(f"{who} says {label}" for label, who in self.labels.items()) if len(self.labels) > 1 else ""


def tagged_pictures(source: Source) -> list[tuple[Source, PurePosixPath, Tags]]:
    """Return every picture with what the folders above it and the csvs that list it state."""
    names = source.names()
    pictures = [name for name in names if name.suffix.lower() in SUFFIXES]
    by_csv: dict[PurePosixPath, Tags] = {}
    for table in names:
        if table.suffix.lower() == ".csv":
            for name, stated in _of_csv(source, table, pictures):
                by_csv[name] = by_csv[name].also(stated) if name in by_csv else stated
    tagged = []
    for name in pictures:
        tags = _of_folders(source.root_name, name)
        if stated := by_csv.get(name):
            tags = replace(tags.also(stated), split=stated.split or tags.split)
        tagged.append((source, name, tags))
    return tagged


def _of_folders(root_name: str, name: PurePosixPath) -> Tags:
    # The nearest folder decides; the folder that was named counts last, for someone who passes .../real and .../fake.
    folders = [part.lower() for part in (*reversed(name.parts[:-1]), root_name)]
    label = next((LABEL_FOLDERS[part] for part in folders if part in LABEL_FOLDERS), None)
    split = next((SPLIT_FOLDERS[part] for part in folders if part in SPLIT_FOLDERS), "")
    return Tags({label: "its folder"} if label else {}, (), split)


def _of_csv(
    source: Source, table: PurePosixPath, pictures: list[PurePosixPath]
) -> Iterator[tuple[PurePosixPath, Tags]]:
    """Yield the files that a csv lists, by path or by a name that is unique in the data set, with what it states.

    A video's name stands for a picture with its stem. A group may be the name of a picture, the original of a fake say:
    then that picture belongs to it. A csv without the columns file and label says nothing.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(source.read(table).decode("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error):
        return
    columns = {
        key: next((header for header in headers if rows and header in rows[0]), None)
        for key, headers in CSV_COLUMNS.items()
    }
    if columns["file"] is None or columns["label"] is None:
        return
    existing = set(pictures)
    stems = Counter(name.stem for name in pictures)
    by_stem = {name.stem: name for name in pictures if stems[name.stem] == 1}
    by_name = {name.name: name for name in by_stem.values()}

    def cell(row: dict[str, str], key: str) -> str:
        column = columns[key]
        return (row.get(column) or "").strip() if column else ""

    def picture(listed: PurePosixPath) -> PurePosixPath | None:
        name = table.parent / listed if table.parent / listed in existing else by_name.get(listed.name)
        return by_stem.get(listed.stem) if name is None and listed.suffix.lower() not in SUFFIXES else name

    def group(stated: str) -> str:
        path = PurePosixPath(stated)
        if path.suffix.lower() not in _MEDIA:
            return stated
        original = picture(path)
        return original.stem if original else str(path.with_suffix(""))

    groups = {stated: group(stated) for stated in {cell(row, "group") for row in rows} if stated}
    named = set(groups.values())
    for row in rows:
        name = picture(PurePosixPath(cell(row, "file")))
        label = LABEL_FOLDERS.get(cell(row, "label").lower())
        if name is not None and label is not None:
            own = groups.get(cell(row, "group")) or (name.stem if name.stem in named else None)
            split = SPLIT_FOLDERS.get(cell(row, "split").lower(), "")
            yield name, Tags({label: table.name}, (own,) if own else (), split)


def stricter(split: str, other: str) -> str:
    """Return the split that comes later in STRICTNESS."""
    return max(split, other, key=("", *STRICTNESS).index)
