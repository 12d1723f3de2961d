"""One labelled data set out of raw folders and zips in the layouts people have."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ..edge.errors import DatasetError, ImageError
from ..edge.files import new_folder
from ..edge.images import read_image
from ..edge.manifest import MANIFEST, Record, read_manifest, write_manifest, write_skipped
from .sources import FolderSource, Source
from .tags import stricter, tagged_pictures


@dataclass(frozen=True)
class Skipped:
    """A raw file that did not come in."""

    path: str
    kind: str
    """duplicate, both labels, unreadable or no label."""
    detail: str = ""


@dataclass
class MergeReport:
    """What a merge brought in and what it left out."""

    records: list[Record] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unchanged: bool = False
    """The output held exactly this already."""

    def count(self, label: str) -> int:
        """Return the number of pictures with a label."""
        return sum(record.label == label for record in self.records)

    def skipped_by_kind(self) -> Counter[str]:
        """Return how many files were left out for which kind of reason."""
        return Counter(skipped.kind for skipped in self.skipped)


def merge(
    sources: Iterable[Source], output: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> MergeReport:
    """Bring raw data sets together in output/{real,fake} with a manifest.csv, each picture once.

    Files with the same bytes come in once; with both labels, not at all. Running it again over the same output changes
    nothing. progress is called with the pictures read and their number.

    Raises DatasetError when a label has no pictures, or output holds something else already or lies in a source.
    """
    sources = list(sources)
    _check_output(output, sources)
    report = MergeReport()
    origins: dict[str, tuple[Source, PurePosixPath]] = {}
    by_hash: dict[str, Record] = {}
    contradictory: dict[str, str] = {}
    aliases: dict[str, str] = {}
    pictures = [picture for source in sources for picture in tagged_pictures(source)]
    for number, (source, name, tags) in enumerate(pictures, start=1):
        progress(number, len(pictures))
        shown = _shown((source, name))
        if not tags.labels:
            report.skipped.append(Skipped(shown, "no label", "neither a folder nor a csv calls it real or fake"))
            continue
        try:
            content = source.read(name)
            height, width, _ = read_image(content).shape
        except (ImageError, OSError) as error:
            report.skipped.append(Skipped(shown, "unreadable", str(error)))
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        label = next(iter(tags.labels))
        if tags.contradiction:
            contradictory[sha256] = tags.contradiction
        if first := by_hash.get(sha256):
            if first.label != label:
                contradictory.setdefault(sha256, f"{shown} is {label}")
            split = stricter(first.split, tags.split)
            by_hash[sha256] = replace(first, split=split, stated_split=split)
            _join(first.group, source.name, tags.groups, aliases)
            report.skipped.append(Skipped(shown, "duplicate", f"of {_shown(origins[sha256])}"))
            continue
        origins[sha256] = (source, name)
        group = f"{source.name}/{tags.groups[0] if tags.groups else sha256[:20]}"
        _join(group, source.name, tags.groups, aliases)
        by_hash[sha256] = Record(
            path=f"{label}/{sha256[:20]}{name.suffix.lower()}",
            label=label,
            source=source.name,
            group=group,
            split=tags.split,
            sha256=sha256,
            width=width,
            height=height,
            stated_split=tags.split,
        )
    report.skipped += [
        Skipped(_shown(origins[sha256]), "both labels", who) for sha256, who in sorted(contradictory.items())
    ]
    report.records = sorted(
        (
            replace(record, group=_first_alias(record.group, aliases))
            for sha256, record in by_hash.items()
            if sha256 not in contradictory
        ),
        key=lambda record: record.path,
    )
    for label in ("real", "fake"):
        if not report.count(label):
            raise DatasetError(
                f"no {label} pictures found ({len(report.skipped)} files left out); wanted folders such as real/ and "
                "fake/, training_real/ and training_fake/, or a csv whose columns file and label say real or fake"
            )
    _write(report, origins, output)
    return report


def _join(group: str, source_name: str, others: Iterable[str], aliases: dict[str, str]) -> None:
    """Note that pictures of group and of each of others are of one group."""
    one = _first_alias(group, aliases)
    for other in others:
        name = _first_alias(f"{source_name}/{other}", aliases)
        if name != one:
            aliases[name] = one


def _first_alias(group: str, aliases: dict[str, str]) -> str:
    while group in aliases:
        group = aliases[group]
    return group


def _check_output(output: Path, sources: Sequence[Source]) -> None:
    for source in sources:
        if isinstance(source, FolderSource) and output.resolve().is_relative_to(source.root.resolve()):
            raise DatasetError(
                f"{output} lies inside {source.root}, which would then hold its own pictures twice; choose a place "
                "outside with -o"
            )
    if output.is_file() or (output.is_dir() and any(output.iterdir()) and not (output / MANIFEST).exists()):
        raise DatasetError(f"{output} exists and is not a merged data set; choose another folder with -o")


def _write(report: MergeReport, origins: dict[str, tuple[Source, PurePosixPath]], output: Path) -> None:
    if (output / MANIFEST).exists():
        if [_undecided(record) for record in read_manifest(output)] != [_undecided(r) for r in report.records]:
            raise DatasetError(f"{output} holds another merge; choose another folder with -o, or delete it first")
        report.unchanged = True
        return
    with new_folder(output) as partial:
        for record in report.records:
            source, name = origins[record.sha256]
            target = partial / record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read(name))
        write_skipped(partial, [(left.path, f"{left.kind} {left.detail}".strip()) for left in report.skipped])
        write_manifest(partial, report.records)


def _undecided(record: Record) -> tuple[str, ...]:
    # Without the split, which the split stage may have written since.
    return record.path, record.label, record.source, record.group, record.stated_split


def _shown(origin: tuple[Source, PurePosixPath]) -> str:
    return f"{origin[0].name}/{origin[1]}"
