"""Tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; as a string it is Markdown."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Return the table in Markdown."""
        head, *rows = (f"| {' | '.join(cells)} |" for cells in (self.head, *self.rows))
        return "\n".join([head, f"|{'---|' * len(self.head)}", *rows])
