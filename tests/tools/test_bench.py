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
    assert list(sets) == ([str(samples)] if how == "own" else ["640 x 480", "12 megapixels"])
    for times in sets.values():
        assert 0.2 < times["share_of_limit"] < 1.5
        parts = times["decode_ms"] + times["find_ms"] + times["crop_ms"] + times["classify_ms"]
        assert times["scan_ms"] == pytest.approx(parts, rel=0.8)
        assert set(times["per_s_by_workers"]) == {"1", "2"}
    if how == "made":
        assert sets["12 megapixels"]["megapixels"] == 12
        assert sets["12 megapixels"]["decode_ms"] < sets["12 megapixels"]["full_decode_ms"]
    assert all({"float32", "int8"} == set(known) for known in report["invoke_ms"].values())
    assert 0 < report["first_verdict_s"] < 60
    assert 20 < report["peak_memory_mb"] < 2000


def test_a_folder_without_pictures_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--images", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("Error: no pictures in")
