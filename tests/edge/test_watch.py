"""Pictures that arrive in a watched folder are scored once they are whole."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facetell.edge.errors import SourceError
from facetell.edge.watch import Arrivals

FACETELL = [sys.executable, "-m", "facetell.tools.cli"]


def slowly(source: Path, target: Path) -> None:
    content = source.read_bytes()
    with target.open("wb") as file:
        for start in range(0, len(content), len(content) // 3):
            file.write(content[start : start + len(content) // 3])
            file.flush()
            time.sleep(0.1)


def renamed(source: Path, target: Path) -> None:
    shutil.copy(source, target.with_suffix(".part"))
    target.with_suffix(".part").rename(target)


def into_a_new_folder(source: Path, target: Path) -> None:
    target.parent.mkdir()
    time.sleep(0.3)
    shutil.copy(source, target)


@pytest.mark.parametrize(
    ("put", "name"),
    [(shutil.copy, "a.jpg"), (slowly, "a.JPG"), (renamed, "a.png"), (into_a_new_folder, "below/a.jpg")],
    ids=["copied", "slowly", "renamed", "in a new folder"],
)
def test_a_picture_comes_once_and_whole(put: Callable[[Path, Path], None], name: str, samples: Path, tmp_path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    stop = threading.Event()
    arrivals = Arrivals(watched).after([], stop.is_set)
    writer = threading.Thread(target=put, args=(samples / "two_faces.jpg", watched / name))
    writer.start()
    path = next(arrivals)
    assert path == watched / name
    assert path.read_bytes() == (samples / "two_faces.jpg").read_bytes()
    writer.join()
    threading.Timer(1.5, stop.set).start()
    assert list(arrivals) == []


def test_what_is_no_picture_is_left_alone(tmp_path: Path) -> None:
    stop = threading.Event()
    arrivals = Arrivals(tmp_path).after([], stop.is_set)
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "gone.jpg").write_text("x")
    (tmp_path / "gone.jpg").unlink()
    threading.Timer(1.5, stop.set).start()
    assert list(arrivals) == []


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_cannot_be_watched(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="cannot watch"):
        Arrivals(tmp_path / name)


def test_videos_arrive_too(tmp_path: Path) -> None:
    stop = threading.Event()
    arrivals = Arrivals(tmp_path).after([], stop.is_set)
    (tmp_path / "clip.MP4").write_text("whole")
    assert next(arrivals) == tmp_path / "clip.MP4"
    stop.set()


def test_what_was_there_does_not_come_again(tmp_path: Path) -> None:
    stop = threading.Event()
    watched = Arrivals(tmp_path)
    (tmp_path / "a.jpg").write_text("put between the watching and the walk")
    threading.Timer(2, stop.set).start()
    assert list(watched.after(iter([tmp_path / "a.jpg"]), stop.is_set)) == [tmp_path / "a.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
def test_the_command_scans_what_is_there_and_what_arrives_until_ctrl_c(samples: Path, tmp_path: Path) -> None:
    watched, output = tmp_path / "watched", tmp_path / "rows.jsonl"
    watched.mkdir()
    shutil.copy(samples / "real_astronaut.jpg", watched / "there.jpg")
    process = subprocess.Popen([*FACETELL, "scan", "--watch", watched, "-o", output], stderr=subprocess.PIPE, text=True)

    def rows(count: int) -> list[str]:
        deadline = time.monotonic() + 300
        while True:
            lines = output.read_text().splitlines() if output.exists() else []
            if len(lines) == count:
                return [Path(json.loads(line)["path"]).name for line in lines]
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert rows(1) == ["there.jpg"]
    shutil.copy(samples / "two_faces.jpg", watched / "arrived.jpg")
    (watched / "bad.jpg").write_text("no picture")
    assert sorted(rows(3)) == ["arrived.jpg", "bad.jpg", "there.jpg"]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.startswith("Stopped after 3 files")
