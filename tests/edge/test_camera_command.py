"""facetell camera: what it writes of the faces it sees, how it ends, and one line for what it cannot do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from facetell.tools.cli import run

from ..pictures import write_video
from ..program import DONE, FACETELL, FAILED, INTERRUPTED, one_error


def test_events_of_a_file_as_lines_of_json(
    portrait: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_video(tmp_path / "clip.avi", [portrait] * 40, "MJPG")  # long enough for a slow machine, too
    assert run(["camera", "--source", str(clip), "--view", "none", "--jsonl", "-q"]) == DONE
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first, *between, last = (event["event"] for event in events)
    assert (first, last) == ("appeared", "left")
    assert set(between) <= {"verdict"}  # none on a machine that looks only now and then
    assert set(events[0]) == {"time", "event", "track", "verdict", "p_fake", "box_xyxy", "doubt"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
def test_ctrl_c_ends_a_camera_in_the_browser(portrait: np.ndarray, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", [portrait] * 300, "MJPG", fps=1)  # it does not end by itself
    process = subprocess.Popen(
        [*FACETELL, "camera", "--source", str(clip), "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    with urllib.request.urlopen(process.stderr.readline().split()[2], timeout=10) as page:
        assert b"<title>facetell</title>" in page.read()
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == INTERRUPTED


@pytest.mark.skipif(sys.platform != "linux", reason="windows need no display elsewhere")
def test_a_window_without_a_display_is_one_line(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run(["camera", "--source", str(clip), "--view", "window"]) == FAILED
    assert "there is no display for a window here; use --view browser" in one_error(capsys.readouterr().err)


def test_frames_that_cannot_be_saved_are_told_at_once(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "fakes")
    assert run(["camera", "--source", str(clip), "--view", "none", "--save-fakes", folder]) == FAILED
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="cameras have no names elsewhere")
def test_a_camera_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["camera", "--source", "7"]) == FAILED
    assert one_error(capsys.readouterr().err).startswith("Error: there is no camera /dev/video7")
