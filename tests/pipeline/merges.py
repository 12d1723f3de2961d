"""Raw pictures merged, and what became of each."""

from pathlib import Path

from facetell.edge.manifest import read_manifest
from facetell.pipeline.merge import MergeReport, merge
from facetell.pipeline.sources import open_sources

ITS_OWN = "a group of its own"


def merged(*raw: Path, output: Path) -> MergeReport:
    return merge(open_sources(raw), output)


def by_content(output: Path) -> dict[bytes, tuple[str, str, str]]:
    """Return label, split and group of each merged picture by its bytes."""
    records = read_manifest(output)
    assert [r.stated_split for r in records] == [r.split for r in records]
    groups = {r.sha256: ITS_OWN if r.group == f"{r.source}/{r.sha256[:20]}" else r.group for r in records}
    return {(output / r.path).read_bytes(): (r.label, r.split, groups[r.sha256]) for r in records}
