"""What doctor finds here, where all is well, and where something is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE
from facetell.edge.runtime import installed_runtimes
from facetell.tools.cli import run
from facetell.tools.doctor import examine


def test_all_that_a_scan_needs_works_here() -> None:
    found = {finding.name: finding for finding in examine(DEFAULT_BUNDLE)}
    assert list(found)[:2] == ["machine", "OpenCV"]
    assert [
        name for name in ("machine", "OpenCV", "model", "scan", *installed_runtimes()) if not found[name].works
    ] == []
    assert "2 of 2 faces" in found["scan"].said
    assert found["camera"].works or found["camera"].advice


def test_a_changed_model_is_found_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    (copy / "float32.tflite").write_bytes(b"changed")
    assert run(["doctor", "--model", str(copy)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("FAILS" in line and "float32.tflite differs" in line for line in lines)


def test_a_device_that_gives_no_picture_is_said_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a Raspberry Pi's codecs do, on one without a camera."""
    monkeypatch.setattr("facetell.tools.doctor._devices", lambda: ["/dev/null"])
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "/dev/null gives no picture" in said
    assert "docs/raspberry-pi.md" in said


@pytest.mark.parametrize("runtime", ["tflite-runtime", "ai-edge-litert"])
def test_a_runtime_that_is_not_installed_is_named(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facetell.tools.doctor.installed_runtimes", list)
    (finding,) = [finding for finding in examine(DEFAULT_BUNDLE) if finding.name == runtime]
    assert finding.said == "not installed"
    assert (finding.works, finding.advice) == (
        (False, "pip install ai-edge-litert") if runtime == "ai-edge-litert" else (None, "")
    )
