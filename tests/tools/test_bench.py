"""Speed: what a report says, not how fast this machine is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facetell.tools.cli import run


@pytest.mark.parametrize("how", ["own", "made"])
def test_a_report_holds_together(how: str, samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = ["--images", str(samples)] if how == "own" else []
    assert run(["bench", "--rounds", "1", "--workers", "2", "--format", "json", *images]) == 0
    report = json.loads(capsys.readouterr().out)
    sets = report["sets"]
    sizes = {"640 x 480": 0.3072, "1 megapixel": 0.995328, "12 megapixels": 12}
    assert list(sets) == ([str(samples)] if how == "own" else list(sizes))
    for times in sets.values():
        parts = ("scan_ms", "small_faces_off_ms", "full_decode_ms", "decode_ms", "find_ms", "classify_ms", "limit_ms")
        assert all(times[part] > 0 for part in parts)
        assert times["share_of_limit"] == pytest.approx(times["limit_ms"] / times["scan_ms"])
        assert times["small_faces_ratio"] == pytest.approx(times["scan_ms"] / times["small_faces_off_ms"])
        assert set(times["per_s_by_workers"]) == {"1", "2"}
    if how == "made":
        assert {name: times["megapixels"] for name, times in sets.items()} == sizes
    assert all({"float32", "int8"} == set(known) for known in report["invoke_ms"].values())
    assert 0 < report["first_verdict_s"] < 60
    assert 20 < report["peak_memory_mb"] < 2000


def test_a_folder_without_pictures_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--images", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("Error: no pictures in")
