"""Tables of text, for people, pages and spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import printable
from .files import replacing


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; as a string it is Markdown."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Return the table in Markdown."""
        lines = [[printable(cell).replace("|", r"\|") for cell in cells] for cells in (self.head, *self.rows)]
        head, *rows = (f"| {' | '.join(cells)} |" for cells in lines)
        return "\n".join([head, f"|{'---|' * len(self.head)}", *rows])


def spreadsheet_safe(text: str) -> str:
    """Return text as a cell that no spreadsheet runs as a formula: a file name may be one."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows of text and numbers as CSV, whole or not at all; raises SourceError when that is not possible."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for row in rows:
            writer.writerow([spreadsheet_safe(cell) if isinstance(cell, str) else cell for cell in row])
