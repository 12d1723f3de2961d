"""What a scan says of each file, and how it is written: JSONL, JSON, CSV or a table."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TextIO

from .errors import printable
from .faces import Box

FORMATS = ("table", "csv", "json", "jsonl")
VERDICTS = ("real", "fake", "uncertain", "no_face", "error")
COLOURS = {"real": "blue", "fake": "bold dark_orange", "uncertain": "yellow", "no_face": "dim", "error": "red"}

CSV_COLUMNS = (
    *("path", "status", "verdict", "p_fake", "face", "face_verdict", "face_p_fake", "face_score"),
    *("x_min", "y_min", "x_max", "y_max", "width", "height", "model", "precision", "latency_ms", "error"),
)


@dataclass(frozen=True)
class FaceResult:
    """One face: box in pixels, the finder's score, calibrated probability of a fake, verdict."""

    box_xyxy: Box
    score: float
    p_fake: float
    verdict: str


@dataclass(frozen=True)
class FileResult:
    """One file: status ok or error, and the verdict of its most suspicious face, no_face, or error with a reason."""

    path: str
    status: str
    verdict: str
    p_fake: float | None = None
    faces: list[FaceResult] = field(default_factory=list)
    width: int | None = None
    height: int | None = None
    model: str = ""
    precision: str = ""
    latency_ms: float | None = None
    error: str | None = None


def write_results(results: Iterable[FileResult], format: str, file: TextIO) -> Counter[str]:
    """Write results in one of FORMATS and return the number of each verdict.

    CSV and JSONL grow with every file, JSON is one array, and a table, which is for people, appears at the end.
    """
    write = {"table": _write_table, "csv": _write_csv, "json": _write_json, "jsonl": _write_jsonl}[format]
    counts: Counter[str] = Counter()

    def counted() -> Iterable[FileResult]:
        for result in results:
            yield result
            counts[result.verdict] += 1

    write(counted(), file)
    return counts


def _write_table(results: Iterable[FileResult], file: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("p(fake)", justify="right")
    table.add_column("face at x, y, size")
    table.add_column("ms", justify="right")
    for result in results:
        shown = printable(result.path)
        rows = [(face.verdict, f"{face.p_fake:.2f}", _place(face.box_xyxy)) for face in result.faces]
        rows = rows or [(result.verdict, "", printable(result.error or ""))]
        latency = "" if result.latency_ms is None else f"{result.latency_ms:.0f}"
        for verdict, p_fake, place in rows:
            coloured = Text(verdict.replace("_", " "), style=COLOURS[verdict])
            table.add_row(Text(shown), coloured, p_fake, Text(place), latency)
            shown = latency = ""
    if table.row_count:
        Console(file=file, width=None if file.isatty() else 160).print(table)


def _write_jsonl(results: Iterable[FileResult], file: TextIO) -> None:
    for result in results:
        file.write(json.dumps(asdict(result)) + "\n")
        file.flush()


def _write_json(results: Iterable[FileResult], file: TextIO) -> None:
    separator = "[\n"
    for result in results:
        file.write(separator + json.dumps(asdict(result)))
        separator = ",\n"
    file.write("\n]\n" if separator == ",\n" else "[]\n")


def _write_csv(results: Iterable[FileResult], file: TextIO) -> None:
    writer = csv.DictWriter(file, CSV_COLUMNS)
    writer.writeheader()
    for result in results:
        values = asdict(result)
        faces = values.pop("faces")
        values |= {"path": _spreadsheet_safe(result.path), "error": _spreadsheet_safe(result.error or "")}
        for number, face in enumerate(faces or [None], start=1):
            if face:
                box = dict(zip(("x_min", "y_min", "x_max", "y_max"), face["box_xyxy"], strict=True))
                values |= (
                    {f"face_{name}": face[name] for name in ("verdict", "p_fake", "score")} | box | {"face": number}
                )
            writer.writerow(values)
        file.flush()


def _spreadsheet_safe(text: str) -> str:
    """Keep a spreadsheet from running a file name as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _place(box: Box) -> str:
    x_min, y_min, x_max, y_max = box
    return f"{x_min:.0f}, {y_min:.0f}, {max(x_max - x_min, y_max - y_min):.0f}"
