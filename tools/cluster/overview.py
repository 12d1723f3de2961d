"""What a scan on a cluster came to, as a page: counts, reasons, and what is most suspicious."""

from __future__ import annotations

import heapq
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset

from ...edge.cut import crop_face
from ...edge.detector import Detector
from ...edge.errors import FacetellError
from ...edge.images import Picture, write_image
from ...edge.results import VERDICTS, Tally
from ...edge.tables import Table
from ...pipeline.page import Figure, Section, write_page
from .rows import Row, newest
from .sources import Sources

PAGE = "_overview.html"
"""In the folder of the rows; readers of Parquet pass over names that begin so."""

_SHOWN = 24
_CHOSEN = f"At most {_SHOWN}: those with the highest probability of a fake"
_TILE_PX = 180
_MARGIN_RATIO = 1.5  # people recognise a face by its hair
_REASONS = 50
_NOT_JUDGED = {"too_small": "faces too small to judge", "doubtful": "detections that may not be faces"}


@dataclass(frozen=True)
class Findings:
    """What the rows of a scan say."""

    tally: Tally = field(default_factory=Tally)
    pictures: list[Row] = field(default_factory=list)
    """Those with the highest p_fake, the highest first."""
    videos: list[Row] = field(default_factory=list)
    """The same of videos."""
    unread: dict[str, str] = field(default_factory=dict)
    """A file for each of the tally's reasons."""
    not_judged: Counter[str] = field(default_factory=Counter)
    """Of how many faces nothing was said, by the column that counts them."""


def read_rows(written: Dataset, detector: Detector, fps: float) -> Findings:
    """Return what the rows say that a detector would make, of videos at fps; of each file the last row counts."""
    found = Findings()
    columns = ["path", "verdict", "p_fake", "faces", "deciding_face", *_NOT_JUDGED, "width", "fps", "error"]
    for batch in newest(written, detector, fps, columns):
        found.not_judged.update({name: sum(batch[name].to_pylist()) for name in _NOT_JUDGED})
        values = (batch[name].to_pylist() for name in ("path", "verdict", "error"))
        for path, verdict, error in zip(*values, strict=True):
            if reason := found.tally.add(verdict, error):
                found.unread.setdefault(reason, path)
        for top, is_such in ((found.pictures, pc.field("fps").is_null()), (found.videos, pc.field("fps").is_valid())):
            highest = batch.filter(pc.field("p_fake").is_valid() & is_such).sort_by([("p_fake", "descending")])
            top[:] = heapq.nlargest(_SHOWN, [*top, *highest.slice(0, _SHOWN).to_pylist()], key=itemgetter("p_fake"))
    return found


def overview(found: Findings, sources: Sources, detector: Detector, command: str) -> bytes:
    """Return a page, as one file of HTML, about what was found in the rows that a detector made."""
    counts, reasons = found.tally.verdicts, found.tally.reasons
    facts = {"files": f"{counts.total():,}"} | {name.replace("_", " "): f"{counts[name]:,}" for name in VERDICTS}
    facts |= {words: f"{found.not_judged[name]:,}" for name, words in _NOT_JUDGED.items()}
    with TemporaryDirectory(prefix="facetell-") as folder:
        sections = []
        if found.pictures:
            tiles = [_tile(row, sources, Path(folder, f"{number}.png")) for number, row in enumerate(found.pictures)]
            words = f"{_CHOSEN}, and of each the most suspicious face."
            sections.append(Section("The most suspicious pictures", words, tiles=tiles))
        if found.videos:
            videos = [(_verdict(row), f"{row['path']}, {_span(row)}") for row in found.videos]
            sections.append(
                Section("The most suspicious videos", f"{_CHOSEN}.", table=Table(("verdict", "video"), videos))
            )
        if reasons:
            told = [(f"{n:,}", f"{reason}; as {found.unread[reason]}") for reason, n in reasons.most_common(_REASONS)]
            words = f"{len(reasons)} reasons; the most frequent {_REASONS}." if len(reasons) > _REASONS else ""
            sections.append(Section("Why files could not be read", words, table=Table(("files", "reason"), told)))
        lead = f"{detector.signed['model']}, {detector.signed['precision']}, {detector.signed['rule']}."
        page = Path(folder, PAGE)
        write_page(page, "What the scan came to", lead, facts, sections, command)
        return page.read_bytes()


def _verdict(row: Row) -> str:
    return f"{row['verdict']} {row['p_fake']:.3f}"


def _span(row: Row) -> str:
    face = row["faces"][row["deciding_face"]]
    return f"{face['start_s']:.0f}-{face['end_s']:.0f} s"


def _tile(row: Row, sources: Sources, path: Path) -> Figure:
    """Write the most suspicious face of a picture to a path; grey where it cannot be seen from here, or is gone."""
    tile, image = np.full((_TILE_PX, _TILE_PX, 3), 200, np.uint8), None
    with suppress(FacetellError, OSError, pa.ArrowException):
        if file := sources.named(row["path"]):
            content = sources.content(file)
            image = Picture(sources.path(file) if content is None else content).decode()
    if image is not None:
        face = row["faces"][row["deciding_face"]]
        box, roll_degrees = (
            tuple(edge * image.shape[1] / row["width"] for edge in face["box_xyxy"]),
            face["roll_degrees"],
        )
        tile = crop_face(image, box, size_px=_TILE_PX, margin_ratio=_MARGIN_RATIO, roll_degrees=roll_degrees)
    write_image(tile, path)
    return Figure(path, f"{_verdict(row)}, {row['path']}")
