"""facetell scan of videos: rows among those of pictures, and annotated copies that are whole or not there."""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.edge.detector import Detector
from facetell.edge.video import scan_video
from facetell.tools.cli import run

from ..pictures import write_video
from ..program import FACETELL, INTERRUPTED


def test_a_folder_of_pictures_and_videos(samples: Path, portrait: np.ndarray, tmp_path: Path, capsys) -> None:
    shutil.copy(samples / "real_astronaut.jpg", tmp_path / "a.jpg")
    write_video(tmp_path / "b.mp4", [portrait] * 10)
    (tmp_path / "c.mov").write_text("no video")
    assert run(["scan", str(tmp_path), "--format", "jsonl"]) == 3
    picture, video, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (picture["status"], video["status"], bad["status"]) == ("ok", "ok", "error")
    assert (video["fps"], video["duration_s"]) == (5, 1)
    (face,) = video["faces"]
    assert set(face) == {
        *("box_xyxy", "score", "p_fake", "verdict", "roll_degrees", "doubt"),
        *("start_s", "end_s", "best_s", "frames"),
    }


def test_annotated_frames_have_boxes_where_the_face_is(
    detector: Detector, portrait: np.ndarray, tmp_path: Path, capsys
) -> None:
    video, out = write_video(tmp_path / "clip.mp4", [portrait] * 10), tmp_path / "out.mp4"
    assert run(["scan", str(video), "--annotate", str(out), "--format", "jsonl"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    drawn, frame = capture.read()
    capture.release()
    assert drawn
    x_min, y_min, x_max, y_max = (round(edge) for edge in face["box_xyxy"])
    changed = np.abs(frame[:, :, ::-1].astype(int) - portrait).max(axis=2) > 60
    assert changed[y_min:y_max, x_min - 1 : x_min + 2].mean() > 0.5
    assert not changed[y_min + 20 : y_max - 20, x_min + 20 : x_max - 20].any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["clip.mp4", "--annotate", "taken.mp4"], 1),
        (["clip.mp4", "--annotate", "out.avi"], 2),
        (["clip.mp4", "clip.mp4", "--annotate", "out.mp4"], 2),
        ([".", "--annotate", "out.mp4"], 2),
        (["a.jpg", "--annotate", "out.mp4"], 2),
        (["clip.mp4", "--annotate", "out.jpg"], 2),
        (["clip.mp4", "--watch", ".", "--annotate", "out.mp4"], 2),
        (["clip.mp4", "-o", "rows.jsonl", "--resume", "--annotate", "out.mp4"], 2),
        (["clip.mp4", "--fps", "0"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn(arguments, code: int, portrait: np.ndarray, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", [portrait] * 3)
    (tmp_path / "taken.mp4").write_text("mine")
    (tmp_path / "a.jpg").touch()
    assert run(["scan", *arguments]) == code
    assert capsys.readouterr().err.count("Error: ") == 1
    assert (tmp_path / "taken.mp4").read_text() == "mine"


@pytest.mark.parametrize(("after", "scanned"), [(5, False), (25, True)], ids=["while it looks", "while it draws"])
def test_a_stop_leaves_no_half_drawn_video(
    after: int, scanned: bool, detector: Detector, portrait: np.ndarray, tmp_path: Path
) -> None:
    video, asked = write_video(tmp_path / "clip.mp4", [portrait] * 20), itertools.count()
    result = scan_video(video, detector, annotated=tmp_path / "out.mp4", stopped=lambda: next(asked) >= after)
    assert (result is not None) == scanned
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
def test_ctrl_c_while_it_draws_keeps_the_verdict(portrait: np.ndarray, tmp_path: Path) -> None:
    frames = [cv2.resize(portrait, (1280, 960))] * 300
    video, out = write_video(tmp_path / "clip.avi", frames, "MJPG"), tmp_path / "out.mp4"
    command = [*FACETELL, "scan", video, "--fps", "1", "--annotate", out]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob(".out.mp4*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        rows, err = process.communicate(timeout=300)
    assert process.returncode == INTERRUPTED
    assert "clip.avi,ok,real" in rows
    assert err.startswith("Stopped after 1 file")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]


def test_a_place_that_cannot_be_written_is_told_before_the_scan(portrait: np.ndarray, tmp_path: Path, capsys) -> None:
    video = write_video(tmp_path / "clip.mp4", [portrait] * 5)
    (tmp_path / "file").touch()
    assert run(["scan", str(video), "--annotate", str(tmp_path / "file" / "out.mp4")]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files on Windows")
def test_a_full_disk_leaves_no_broken_video(portrait: np.ndarray, tmp_path: Path) -> None:
    def no_more_than_4_kB() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))

    video = write_video(tmp_path / "clip.avi", [portrait] * 40, "MJPG")
    command = [*FACETELL, "scan", video, "--annotate", tmp_path / "out.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=no_more_than_4_kB)
    assert (done.returncode, done.stderr.count("Error: cannot write")) == (1, 1), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]
