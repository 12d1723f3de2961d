"""Rows of scans, to be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from facetell.tools.cli import run

from ...program import DONE, SOME_FAILED

OF_CLUSTERS = ("size_bytes", "modified", "model_sha256", "latency_ms")
Rows = list[dict[str, Any]]


def plain(*arguments: str | Path, output: Path) -> Rows:
    """Return the rows of a scan without a cluster."""
    assert run(["scan", *map(str, arguments), "-q", "-o", str(output)]) in (DONE, SOME_FAILED)
    return [json.loads(line) for line in output.read_text().splitlines()]


def rows(output: Path) -> Rows:
    """Return the rows that a scan on a cluster wrote."""
    from pyarrow.dataset import dataset

    return dataset(str(output), format="parquet").to_table().to_pylist()


def comparable(found: Rows) -> list[str]:
    """Return rows without what differs from run to run or is told by one kind of scan alone, in order."""
    return sorted(json.dumps(_without_nothing(row), sort_keys=True) for row in found)


def _without_nothing(row: dict[str, Any]) -> dict[str, Any]:
    path = row["path"].encode(errors="surrogateescape").decode(errors="backslashreplace")
    faces = [{name: value for name, value in face.items() if value is not None} for face in row["faces"]]
    kept = {name: value for name, value in row.items() if value is not None and name not in OF_CLUSTERS}
    return kept | {"path": path, "faces": faces}
