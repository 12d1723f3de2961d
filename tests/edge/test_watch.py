"""Pictures that arrive in a watched folder are scored once they are whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from facetell.edge.errors import SourceError
from facetell.edge.watch import Arrivals

from ..program import FACETELL, INTERRUPTED

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says that a file was closed")


def slowly(source: Path, target: Path) -> None:
    content = source.read_bytes()
    with target.open("wb") as file:
        for start in range(0, len(content), len(content) // 3):
            file.write(content[start : start + len(content) // 3])
            file.flush()
            time.sleep(0.1)


def with_pauses(source: Path, target: Path) -> None:
    content = source.read_bytes()
    with target.open("wb", buffering=0) as file:
        for part in (content[:9], content[9:99], content[99:]):
            time.sleep(1.6)
            file.write(part)
            target.read_bytes()  # as a file manager looks at it in between


def with_its_time(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    time.sleep(0.03)
    os.utime(target, (1e9, 1e9))


def renamed(source: Path, target: Path) -> None:
    shutil.copy(source, target.with_suffix(".part"))
    target.with_suffix(".part").rename(target)


def from_elsewhere(source: Path, target: Path) -> None:
    elsewhere = target.parents[1] / target.name
    shutil.copy2(source, elsewhere)
    elsewhere.rename(target)


def linked(source: Path, target: Path) -> None:
    elsewhere = target.parents[1] / target.name
    shutil.copy(source, elsewhere)
    target.hardlink_to(elsewhere)


def linked_and_looked_at(source: Path, target: Path) -> None:
    linked(source, target)
    target.read_bytes()


def into_a_new_folder(source: Path, target: Path) -> None:
    target.parent.mkdir()
    time.sleep(0.3)
    shutil.copy(source, target)


def in_folders_in_one_go(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.hardlink_to(source)


@pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning")  # watchdog, of folders made in one go
@pytest.mark.parametrize(
    ("put", "name"),
    [
        (shutil.copy, "a.jpg"),
        (with_its_time, "a.jpg"),
        (slowly, "a.JPG"),
        pytest.param(with_pauses, "a.jpg", marks=LINUX),
        (renamed, "a.png"),
        (from_elsewhere, "a.jpg"),
        (linked, "a.jpg"),
        (linked_and_looked_at, "a.jpg"),
        (into_a_new_folder, "below/a.jpg"),
        (in_folders_in_one_go, "below/it/and/further/a.jpg"),
    ],
)
def test_a_picture_comes_once_and_whole(put: Callable[[Path, Path], None], name: str, samples: Path, tmp_path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    source = shutil.copy(samples / "two_faces.jpg", tmp_path / "source.jpg")  # a link to it must be possible
    stop = threading.Event()
    arrivals = Arrivals(watched).after([], stop.is_set)
    writer = threading.Thread(target=put, args=(source, watched / name))
    writer.start()
    path = next(arrivals)
    assert path == watched / name
    assert path.read_bytes() == source.read_bytes()
    assert came(arrivals, stop, writer) == []


def came(arrivals: Iterator[Path], stop: threading.Event, writer: threading.Thread | None = None) -> list[Path]:
    """Return what comes until the writer is done and a walk was made after it."""

    def end() -> None:
        if writer:
            writer.join()
        time.sleep(2.5)
        stop.set()

    threading.Thread(target=end).start()
    return list(arrivals)


MANY = """
import os
for number in range(20_000):
    os.close(os.open(f"{number}.jpg", os.O_CREAT | os.O_WRONLY))
"""


def test_each_of_many_comes_once(tmp_path: Path) -> None:
    """So many so quickly that the system drops most of the events."""
    stop = threading.Event()
    arrivals = Arrivals(tmp_path).after([], stop.is_set)
    with subprocess.Popen([sys.executable, "-c", MANY], cwd=tmp_path) as writer:
        while writer.poll() is None:
            sum(range(10**7))  # no other thread runs meanwhile, as in a scan that is busy; so events queue up
    late = threading.Timer(120, stop.set)
    late.start()
    paths = list(islice(arrivals, 20_000))
    late.cancel()
    assert set(paths) == {tmp_path / f"{number}.jpg" for number in range(20_000)}
    assert came(arrivals, stop) == []


def test_what_is_written_anew_comes_again(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    stop = threading.Event()
    arrivals = Arrivals(tmp_path).after([], stop.is_set)
    for content in ("old", "newer", "newest"):
        picture.write_text(content)
        assert next(arrivals) == picture
        assert picture.read_text() == content
    assert came(arrivals, stop) == []


def test_a_change_that_nothing_tells_of_is_found(tmp_path: Path) -> None:
    watched, elsewhere = tmp_path / "watched", tmp_path / "a.jpg"
    watched.mkdir()
    elsewhere.write_text("old")
    os.utime(elsewhere, (1e9, 1e9))
    (watched / "a.jpg").symlink_to(elsewhere)  # of what it is a link to no event comes
    stop = threading.Event()
    arrivals = Arrivals(watched).after([watched / "a.jpg"], stop.is_set)
    assert next(arrivals) == watched / "a.jpg"
    elsewhere.write_text("newer")
    (watched / "b.jpg").write_text("what makes it look again")
    assert sorted(came(arrivals, stop)) == [watched / "a.jpg", watched / "b.jpg"]


@LINUX
def test_what_is_half_written_at_the_start_is_waited_for(samples: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    writer = threading.Thread(target=with_pauses, args=(samples / "two_faces.jpg", picture))
    writer.start()
    time.sleep(2)
    stop = threading.Event()
    arrivals = Arrivals(tmp_path).after([picture], stop.is_set)
    assert next(arrivals) == picture
    assert picture.read_bytes() == (samples / "two_faces.jpg").read_bytes()
    assert came(arrivals, stop, writer) == []


def test_what_was_there_and_is_not_wanted_does_not_come(tmp_path: Path) -> None:
    for name in ("done.jpg", "wanted.jpg"):
        (tmp_path / name).write_text("x")
    stop = threading.Event()
    arrivals = Arrivals(tmp_path).after([tmp_path / "wanted.jpg"], stop.is_set)
    assert next(arrivals) == tmp_path / "wanted.jpg"
    (tmp_path / "new.jpg").write_text("x")
    assert came(arrivals, stop) == [tmp_path / "new.jpg"]


def test_a_large_folder_where_nothing_happens_costs_nothing(tmp_path: Path) -> None:
    for number in range(5000):
        (tmp_path / f"{number}.jpg").touch()
    began, used = time.monotonic(), []

    def stopped() -> bool:
        if time.monotonic() > began + 3:  # by then it has looked at all, once
            used.append(time.thread_time())
        return time.monotonic() > began + 6

    assert list(Arrivals(tmp_path).after([], stopped)) == []
    assert used[-1] - used[0] < 0.1


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
    assert process.returncode == INTERRUPTED
    assert err.startswith("Stopped after 3 files")
