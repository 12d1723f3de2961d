"""Reports as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..edge.errors import printable
from ..edge.files import write_text
from ..edge.tables import Table

GOOD, LOOK, MEND = "good", "look", "mend"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    level: str
    """GOOD, LOOK (worth a look) or MEND."""
    said: str
    advice: str = ""


@dataclass(frozen=True)
class Figure:
    """A PNG file that stands in the page."""

    path: Path
    words: str
    """Its caption, and what is read to those who do not see it."""
    is_wide: bool = False
    """Whether it takes the whole width."""


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, words, and what there is to see, in the order of the fields."""

    title: str
    words: str = ""
    findings: Sequence[Finding] = ()
    figures: Sequence[Figure] = ()
    tiles: Sequence[Figure] = ()
    """Small figures, side by side."""
    table: Table | None = None


def write_page(
    path: Path, title: str, lead: str, facts: dict[str, str], sections: Sequence[Section], command: str
) -> None:
    """Write a page; facts are its large figures by name, command is what made it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
    )
    environment.filters["data_uri"] = _data_uri
    template = environment.get_template("page.html")
    page = template.render(
        title=title, lead=lead, facts=facts, sections=sections, command=command, today=date.today().isoformat()
    )
    write_text(path, page)


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
