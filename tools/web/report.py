"""PDF reports: what was scored, what was said of it, by which model, and what that does not mean."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np
from fpdf import FPDF
from fpdf.enums import XPos, YPos

from ...edge.bundle import Bundle
from ...edge.draw import COLOURS
from ...edge.errors import printable
from ...edge.explain import MAX_SHEET_FACES, MEANING
from ...edge.results import DOUBTS, FaceResult, TrackResult, VideoResult
from .scorer import Scored, as_jpeg
from .texts import LIMITS, in_words

_MARGIN_MM, _WIDTH_MM = 18, 174
_PICTURE_MM = 90  # high at most
_SHEET_MM = (78, 112, 230)  # of one face, two, and more: on the page of the picture, if it can be
_GREY = (90, 90, 90)
_COLOURS = COLOURS | {"no_face": _GREY, "error": (170, 0, 0)}


class _Paper(FPDF):
    def __init__(self, footer: str) -> None:
        super().__init__(format="A4")
        self._footer = footer
        self.set_margins(_MARGIN_MM, _MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=_MARGIN_MM)
        self.set_creator("facetell")

    def footer(self) -> None:
        """Say on every page what made it, and what it is not."""
        self.set_y(-12)
        self.set_font("Helvetica", size=7)
        self.set_text_color(*_GREY)
        self.cell(0, 5, _latin(f"{self._footer} - page {self.page_no()}"), align="C")

    def words(self, text: str, size: float = 9, style: str = "", colour: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.set_font("Helvetica", style, size)
        self.set_text_color(*colour)
        self.multi_cell(_WIDTH_MM, size * 0.5, _latin(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def picture(self, image: np.ndarray, high_mm: float) -> None:
        height, width = image.shape[:2]
        scale = min(_WIDTH_MM / width, high_mm / height)
        if self.get_y() + height * scale > self.h - _MARGIN_MM:
            self.add_page()
        self.image(io.BytesIO(as_jpeg(image)), w=width * scale, h=height * scale)
        self.ln(2)


def report(scored: Sequence[Scored], bundle: Bundle) -> bytes:
    """Return a PDF on one picture, or on a batch: a table of all, then a page for each."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    page = _Paper(f"facetell, {bundle.identity}, {now} - a verdict is evidence, not proof")
    page.set_title("facetell report")
    page.add_page()
    page.words("Real or fake?", 20, "B")
    page.words(f"Report of {now}", 9, colour=_GREY)
    page.ln(3)
    if len(scored) > 1:
        _summary(page, scored)
        page.add_page()
    for number, entry in enumerate(scored):
        if number:
            page.add_page()
        _one(page, entry)
    page.ln(3)
    page.words("How this was made", 12, "B")
    classifier = bundle.classifier()  # as Scorer uses it
    page.words(
        f"Model {bundle.identity} ({bundle.backbone}, {bundle.input_size_px} px), {classifier.file} sha256 "
        f"{classifier.sha256}. Trained on: {', '.join(bundle.trained_on)}. License: {bundle.license}."
    )
    page.ln(3)
    page.words("What it can not tell", 12, "B")
    page.words(LIMITS)
    return bytes(page.output())


def _summary(page: _Paper, scored: Sequence[Scored]) -> None:
    counts: dict[str, int] = {}
    for entry in scored:
        counts[entry.result.verdict] = counts.get(entry.result.verdict, 0) + 1
    said = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts.items())
    page.words(f"{len(scored)} files: {said}", 11)
    page.ln(2)
    page.set_font("Helvetica", size=8)
    page.set_text_color(0, 0, 0)
    with page.table(col_widths=(90, 24, 24, 18), text_align=("LEFT", "LEFT", "RIGHT", "RIGHT")) as table:
        table.row(("file", "verdict", "p(fake)", "faces"))
        for entry in scored:
            result = entry.result
            p_fake = "" if result.p_fake is None else f"{result.p_fake:.3f}"
            table.row((_latin(entry.name), result.verdict.replace("_", " "), p_fake, str(len(result.faces))))


def _one(page: _Paper, entry: Scored) -> None:
    result = entry.result
    page.words(entry.name, 13, "B")
    page.words(in_words(result), 11, colour=_COLOURS[result.verdict])
    page.ln(2)
    if (framed := entry.framed()) is not None:
        page.picture(framed, _PICTURE_MM)
    for number, face in enumerate(result.faces[:MAX_SHEET_FACES], start=1):
        page.words(_of_face(number, face))
    if len(result.faces) > MAX_SHEET_FACES:
        page.words(f"The other {len(result.faces) - MAX_SHEET_FACES} faces are in the CSV and JSON files.")
    if (sheet := entry.sheet()) is not None:
        page.ln(2)
        page.picture(sheet, _SHEET_MM[min(len(entry.evidence), 3) - 1])
        page.words(MEANING, 8, colour=_GREY)
    page.ln(2)
    size = f", {result.width} x {result.height} pixels" if result.width else ""
    if isinstance(result, VideoResult):
        size += f", {result.duration_s:.1f} s, of which {result.fps:g} frames each second were looked at"
    latency = f", scored in {result.latency_ms:.0f} ms" if result.latency_ms is not None else ""
    page.words(f"{entry.size_bytes} bytes{size}{latency}, {result.rule}", 8, colour=_GREY)
    page.words(f"sha256 {entry.sha256}", 8, colour=_GREY)


def _of_face(number: int, face: FaceResult) -> str:
    x_min, y_min, x_max, y_max = face.box_xyxy
    place = f"at {x_min:.0f}, {y_min:.0f}, {x_max - x_min:.0f} x {y_max - y_min:.0f} pixels"
    if isinstance(face, TrackResult):
        place += f" at {face.best_s:.1f} s; seen in {face.frames} frames, {face.start_s:.1f} to {face.end_s:.1f} s"
    score = "" if face.p_fake is None else f", fake {face.p_fake:.1%}, real {1 - face.p_fake:.1%}"
    verdict = f"{face.verdict}, {DOUBTS[face.doubt]}" if face.doubt else face.verdict
    return f"Face {number}: {verdict}{score}, {place}"


def _latin(text: str) -> str:
    """Return text as the fonts that every PDF reader has can show it."""
    return printable(text).encode("latin-1", "replace").decode("latin-1")
