"""What a scan on a cluster came to, as a page: counts, reasons, and the most suspicious faces."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pyarrow as pa
from pyarrow.compute import field
from pyarrow.dataset import Dataset

from ...edge.detector import Detector
from ...edge.draw import COLOURS, draw_line
from ...edge.errors import ImageError
from ...edge.faces import crop_face
from ...edge.images import Picture, write_image
from ...edge.results import VERDICTS, Tally
from ...edge.tables import Table
from ...pipeline.page import Figure, Section, write_page
from .rows import Row, newest
from .sources import Sources

PAGE = "_overview.html"
"""In the folder of the rows; readers of Parquet pass over names that begin so."""

_SHOWN = 24
_COLUMNS = 6
_TILE_PX = 180
_MARGIN_RATIO = 1.5  # somewhat more than is scored: people recognise a face by its hair
_REASONS = 50


def overview(tally: Tally, top: Sequence[Row], sources: Sources, detector: Detector, command: str) -> bytes:
    """Return a page, as one file of HTML, about what read_rows returns of the rows that a detector made."""
    total = tally.verdicts.total()
    facts = {"files": f"{total:,}"} | {name.replace("_", " "): f"{tally.verdicts[name]:,}" for name in VERDICTS}
    reasons = [(f"{count:,}", reason) for reason, count in tally.reasons.most_common(_REASONS)]
    with TemporaryDirectory(prefix="facetell-") as folder:
        sections = []
        if top:
            sheet = Figure(_sheet(top, sources, Path(folder)), "Numbered as in the table.", is_wide=True)
            files = [(str(n), one["verdict"], f"{one['p_fake']:.3f}", one["path"]) for n, one in enumerate(top, 1)]
            words = "Of pictures, by the probability of a fake; videos are in the rows alone."
            table = Table(("", "verdict", "p_fake", "file"), files)
            sections.append(Section("The most suspicious faces", words, figures=[sheet], table=table))
        if reasons:
            sections.append(Section("Why files could not be read", table=Table(("files", "reason"), reasons)))
        lead = f"{detector.signed['model']}, {detector.signed['precision']}, {detector.signed['rule']}."
        page = Path(folder, PAGE)
        write_page(page, "What the scan came to", lead, facts, sections, command)
        return page.read_bytes()


def read_rows(written: Dataset, detector: Detector, fps: float) -> tuple[Tally, list[Row]]:
    """Return the tally of the rows, and those of the pictures with the highest p_fake."""
    tally, top = Tally(), []
    for batch in newest(written, detector, fps, ["path", "verdict", "p_fake", "faces", "width", "fps", "error"]):
        tally.add_all(batch["verdict"].to_pylist(), batch["error"].to_pylist())
        pictures = batch.filter(field("p_fake").is_valid() & field("fps").is_null())
        highest = pictures.sort_by([("p_fake", "descending")]).slice(0, _SHOWN)
        top = heapq.nlargest(_SHOWN, [*top, *highest.to_pylist()], key=itemgetter("p_fake"))
    return tally, top


def _sheet(rows: Sequence[Row], sources: Sources, folder: Path) -> Path:
    """Write the gravest face of each row, numbered, into one picture and return its path."""
    tiles = [_tile(row, number, sources) for number, row in enumerate(rows, 1)]
    columns = min(_COLUMNS, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    lines = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    sheet = folder / "sheet.png"
    write_image(np.vstack(lines), sheet)
    return sheet


def _tile(row: Row, number: int, sources: Sources) -> np.ndarray:
    tile, image = np.full((_TILE_PX, _TILE_PX, 3), 200, np.uint8), None
    # Gone since, another by now, or not to be seen from here.
    with suppress(ImageError, OSError, pa.ArrowException):
        if file := sources.named(row["path"]):
            content = sources.content(file)
            image = Picture(sources.path(file) if content is None else content).decode()
    if image is not None:
        box = tuple(edge * image.shape[1] / row["width"] for edge in row["faces"][0]["box_xyxy"])
        tile = crop_face(image, box, size_px=_TILE_PX, margin_ratio=_MARGIN_RATIO)
    draw_line(tile, f"{number}: {row['p_fake']:.3f}", COLOURS[row["verdict"]])
    return cv2.copyMakeBorder(tile, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=(255, 255, 255))
