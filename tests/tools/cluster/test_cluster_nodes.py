"""Two Ray nodes with addresses of their own: when one is cut off, the rows are still those of a plain scan."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ...pictures import SAMPLES
from ...program import DONE, FACETELL
from .nodes import CLIENT_PORT, ENVIRONMENT, can_make_nodes, ray_nodes
from .rows import comparable, plain, rows

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [
    pytest.mark.skipif(not can_make_nodes(), reason="network namespaces need root on Linux"),
    pytest.mark.skipif("FACETELL_CLUSTER" not in os.environ, reason="make cluster runs it: it takes minutes"),
]

FILES = 400


def test_a_node_that_is_cut_off_loses_and_doubles_nothing(tmp_path: Path) -> None:
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
        other.cut_off()
        assert process.wait(120) == DONE
    expected = plain(photos, "--precision", "float32", output=tmp_path / "plain.jsonl")
    assert comparable(rows(tmp_path / "out")) == comparable(expected)


def test_a_scan_goes_through_a_client(tmp_path: Path) -> None:
    with ray_nodes(1) as (head,):
        options = ["--precision", "float32", "-o", tmp_path / "out", "--cluster", f"ray://{head.address}:{CLIENT_PORT}"]
        scan = [*FACETELL, "scan", SAMPLES, *options]
        assert subprocess.run(list(map(str, scan)), env=os.environ | ENVIRONMENT, check=False).returncode == DONE
    expected = plain(SAMPLES, "--precision", "float32", output=tmp_path / "plain.jsonl")
    assert comparable(rows(tmp_path / "out")) == comparable(expected)
