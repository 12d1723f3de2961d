"""Two Ray nodes with addresses of their own: whatever becomes of one, the rows are those of a plain scan."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ...pictures import SAMPLES
from ...program import DONE, FACETELL
from .nodes import Node, can_make_nodes, ray_nodes
from .rows import comparable, plain, rows

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.skipif(not can_make_nodes(), reason="network namespaces need root on Linux")

FILES = 600
LOST: dict[str, Callable[[Node], None]] = {"cut off": Node.cut_off, "killed": Node.kill}


@pytest.mark.parametrize("how", LOST)
def test_a_node_that_is_lost_loses_and_doubles_nothing(how: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(FILES):
        (photos / f"{number:04}.jpg").symlink_to(SAMPLES / "two_faces.jpg")
    with ray_nodes(2) as (head, other):
        scan = [*FACETELL, "scan", photos, "--cluster", "auto", "--precision", "float32", "-o", tmp_path / "out"]
        process = head.run(*map(str, scan))
        while not other.is_at_work():
            assert process.poll() is None
            time.sleep(0.1)
        LOST[how](other)
        assert process.wait(120) == DONE
    expected = plain(photos, "--precision", "float32", output=tmp_path / "plain.jsonl")
    assert comparable(rows(tmp_path / "out")) == comparable(expected)
