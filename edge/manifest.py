"""The table of labelled pictures that merge writes and every later stage reads: manifest.csv beside the pictures."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DatasetError
from .files import write_text

MANIFEST = "manifest.csv"
SKIPPED = "skipped.csv"
LABELS = ("real", "fake")
SPLITS = ("train", "validation", "test")
EXCLUDED = "excluded"
RESERVED = "reserved"
"""Of whole sources that no training sees: they choose its best epoch, its calibration and its thresholds."""
STRICTNESS = (*SPLITS, RESERVED)
"""What a picture that belongs to two of them is taken for: the later one."""


@dataclass(frozen=True)
class Record:
    """One labelled picture."""

    path: str
    """Relative to the manifest's folder, with forward slashes."""
    label: str
    """real or fake."""
    source: str
    """The data set it came from."""
    group: str
    """Pictures of one group (a person, a video) never stand in two splits."""
    split: str
    """train, validation or test; empty while undecided; excluded where a stated split would leak; reserved."""
    sha256: str
    """Of the raw picture's bytes, here and in every later stage."""
    width: int
    height: int
    stated_split: str = ""
    """The split that the source itself states, if any; split respects it."""
    room_ratio: float = 0.0
    """Side of a face crop over the longer side of the face's box, less than wanted where the picture had no more; 0 for
    a raw picture."""

    @property
    def is_fake(self) -> bool:
        """Whether the label is fake."""
        return self.label == "fake"


_COLUMNS = tuple(field.name for field in fields(Record))


def has_manifest(folder: Path) -> bool:
    """Whether a folder has a manifest.csv of ours; raw data sets may have one of their own making."""
    try:
        with (folder / MANIFEST).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return set(_COLUMNS[:-2]) <= set(next(csv.reader(file), ()))
    except (OSError, csv.Error):
        return False


def read_manifest(folder: Path, name: str = MANIFEST) -> list[Record]:
    """Return the records of folder/manifest.csv; raises DatasetError when it is missing, empty or malformed."""
    path = folder / name
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or (), list(reader)
    except FileNotFoundError as error:
        raise DatasetError(f"{folder} has no {name}; make it with facetell merge or crop") from error
    except (OSError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if missing := [name for name in _COLUMNS[:-2] if name not in columns]:
        raise DatasetError(f"{path} is not a manifest: it lacks the columns {', '.join(missing)}")
    if not rows:
        raise DatasetError(f"{path} lists no pictures; make it again with facetell merge or crop")
    return [_record(row, f"{path}, line {number}") for number, row in enumerate(rows, start=2)]


def write_manifest(folder: Path, records: Iterable[Record], name: str = MANIFEST) -> None:
    """Write folder/manifest.csv, whole or not at all."""
    write_text(folder / name, _table(_COLUMNS, [astuple(record) for record in records]))


def write_skipped(folder: Path, skipped: Iterable[tuple[str, str]]) -> None:
    """Write folder/skipped.csv: what was left out, and why."""
    write_text(folder / SKIPPED, _table(("path", "reason"), skipped))


def read_skipped(folder: Path) -> list[tuple[str, str]]:
    """Return what folder/skipped.csv lists: path and reason; raises DatasetError when it is missing or malformed."""
    try:
        with (folder / SKIPPED).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return [(row["path"], row["reason"]) for row in csv.DictReader(file)]
    except (OSError, csv.Error, KeyError) as error:
        raise DatasetError(f"{folder / SKIPPED} cannot be read: {error}; choose another folder with -o") from error


def select(records: Iterable[Record], split: str) -> list[Record]:
    """Return the records of one split; raises DatasetError when it lacks real or fake pictures."""
    chosen = [record for record in records if record.split == split]
    for label in LABELS:
        if not any(record.label == label for record in chosen):
            raise DatasetError(f"the {split} split has no {label} pictures; wanted both; run: facetell split CROPS")
    return chosen


def deciding(records: Sequence[Record]) -> list[Record]:
    """Return the records that choose epoch and calibration: the reserved ones, or else the validation split.

    Raises DatasetError when they lack real or fake pictures.
    """
    reserved = [record for record in records if record.split == RESERVED]
    return reserved if {record.label for record in reserved} == set(LABELS) else select(records, "validation")


def without_sources(records: Iterable[Record], sources: Collection[str]) -> list[Record]:
    """Return the records less those of some sources, as a training that leaves them out sees them."""
    return [record for record in records if record.source not in sources]


def balanced_sample(records: Sequence[Record], count: int, seed: int = 0) -> list[Record]:
    """Return at least count records, or all: as many of each source and label, more where others have too few."""
    rng = np.random.default_rng(seed)
    strata: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        strata[record.source, record.label].append(record)
    each = -(-count // len(strata))
    while sum(min(each, len(members)) for members in strata.values()) < min(count, len(records)):
        each += 1
    chosen: list[Record] = []
    for _, members in sorted(strata.items()):
        picks = rng.choice(len(members), min(each, len(members)), replace=False)
        chosen += [members[index] for index in sorted(picks)]
    return chosen


def split_sha256(records: Iterable[Record]) -> str:
    """Return a hash of which raw picture stands in which split under which label, whatever the order."""
    lines = sorted(f"{record.sha256} {record.label} {record.split}" for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _record(row: dict[str, str], where: str) -> Record:
    try:
        values: dict[str, Any] = {name: row.get(name) or "" for name in _COLUMNS}
        values.update(width=int(row["width"] or ""), height=int(row["height"] or ""))
        values["room_ratio"] = float(row.get("room_ratio") or 0)
        record = Record(**values)
    except ValueError as error:
        raise DatasetError(f"{where}: width, height and room_ratio must be numbers") from error
    if not 0 <= record.room_ratio <= 100:
        raise DatasetError(f"{where}: the room_ratio is {record.room_ratio}, wanted 0 to 100")
    if record.label not in LABELS:
        raise DatasetError(f"{where}: the label is {record.label!r}, wanted real or fake")
    if record.split not in (*STRICTNESS, EXCLUDED, "") or record.stated_split not in (*SPLITS, ""):
        raise DatasetError(f"{where}: the split is {record.split!r}, wanted one of {', '.join(SPLITS)}")
    if Path(record.path).is_absolute() or ".." in Path(record.path).parts or "\0" in record.path:
        raise DatasetError(f"{where}: the path {record.path!r} leaves the folder")
    return record


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
