"""A camera, the faces before it and what is shown of them; the camera here is a video file, at its own pace."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.browser import BrowserView
from facetell.edge.bundle import Bundle
from facetell.edge.camera import Camera
from facetell.edge.detector import Detector
from facetell.edge.errors import RuntimeMissingError, SourceError
from facetell.edge.images import read_image
from facetell.edge.live import Look, Steady, Watcher, as_line, drawn, in_words, looks, save_fakes
from facetell.tools.cli import run

from ..pictures import VIDEO_SIZE, encoded, write_video

FACETELL = [sys.executable, "-m", "facetell.tools.cli"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray) -> Path:
    """Two seconds of a face."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.avi", [portrait] * 40, "MJPG", fps=20)


# Camera


def test_the_newest_frame_is_given_and_the_others_are_passed_over(clip: Path) -> None:
    camera = Camera(str(clip))
    first = camera.newest(0, 5)
    time.sleep(0.5)
    later = camera.newest(1, 5)
    assert first
    assert later
    assert later.number > first.number + 3
    assert first.image.shape == (*VIDEO_SIZE[::-1], 3)
    camera.close()


def test_a_file_plays_at_its_own_pace_and_ends(clip: Path) -> None:
    started = time.monotonic()
    camera, number = Camera(str(clip)), 0
    while frame := camera.newest(number, 5):
        number = frame.number
    assert camera.ended
    assert number == 40
    assert time.monotonic() - started == pytest.approx(2, abs=0.8)
    camera.close()


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("7", SourceError, "there is no camera /dev/video7"),
        ("/dev/video77", SourceError, "found: "),
        ("no-such-file.mp4", SourceError, "there is no file no-such-file.mp4; wanted the number of a camera"),
        ("http://127.0.0.1:9/stream", SourceError, "gives no stream"),
        ("picamera2", RuntimeMissingError, "apt install python3-picamera2.*--system-site-packages"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="cameras have no names elsewhere")
def test_no_camera_is_one_clear_sentence(source: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Camera(source)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(SourceError, match="no video that can be decoded"):
        Camera(str(tmp_path / "clip.mp4"))


# A camera in the network


class NetworkCamera(ThreadingHTTPServer):
    """Streams a picture, 20 times a second unless it is frozen."""

    daemon_threads = True

    def __init__(self, picture: np.ndarray, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), PictureHandler)
        self.picture, self.port = encoded(picture, "JPEG"), self.server_address[1]
        self.frozen = self.closed = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.closed = True
        self.shutdown()
        self.server_close()


class PictureHandler(BaseHTTPRequestHandler):
    server: NetworkCamera

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with suppress(OSError):
            while not self.server.closed:
                if not self.server.frozen:
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + self.server.picture + b"\r\n")
                time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        pass


def until(condition: Callable[[Look], bool], seen: Iterator[Look], at_most_s: float = 15) -> Look:
    """Return the first look that fulfils a condition, which must come in time; a freeze lasted 30 s once."""
    started = time.monotonic()
    found = next(look for look in seen if condition(look))
    assert time.monotonic() - started < at_most_s
    return found


def has_face(look: Look) -> bool:
    return bool(look.faces)


def has_left(look: Look) -> bool:
    return look.image is None and [event.event for event in look.events] == ["left"]


@pytest.mark.parametrize("how", ["closes the connection", "freezes"])
def test_a_network_camera_is_lost_and_comes_back(how: str, detector: Detector, portrait: np.ndarray) -> None:
    network = NetworkCamera(portrait)
    with closing(Camera(f"http://127.0.0.1:{network.port}/")) as camera:
        seen = looks(camera, detector)
        until(has_face, seen)
        if how == "freezes":
            network.frozen = True
        else:
            network.close()
        until(has_left, seen)
        until(lambda look: camera.lost, seen)
        if how == "freezes":
            network.frozen = False
        else:
            network = NetworkCamera(portrait, network.port)
        until(has_face, seen)
        assert not camera.lost
    network.close()


def test_a_picture_that_stands_still_is_not_shown_as_live(
    detector: Detector, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while the device says nothing of being lost, as most do not."""
    monkeypatch.setattr("facetell.edge.camera._READ_TIMEOUT_MS", 30_000)
    with closing(NetworkCamera(portrait)) as network, closing(Camera(f"http://127.0.0.1:{network.port}/")) as camera:
        seen = looks(camera, detector)
        until(has_face, seen)
        network.frozen = True
        until(has_left, seen)
        assert not camera.lost
        network.frozen = False
        until(has_face, seen)


# Verdicts


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("u" * 9, "u" * 9),
        ("f" * 7, "uuuuuff"),
        ("ffffr" + "f" * 6, "u" * 10 + "f"),  # a doubt begins anew
        ("f" * 6 + "rrrrr" + "f", "uuuuuf" + "ffffff"),  # what lasts less than a second does not move it
        ("f" * 6 + "r" * 6, "uuuuuf" + "fffff" + "r"),
        ("frfrfrfrfrfr", "u" * 12),
    ],
)
def test_a_verdict_must_hold_for_a_second_before_it_is_told(said: str, told: str) -> None:
    words = {"u": "uncertain", "f": "fake", "r": "real"}
    steady = Steady()
    shown = []
    for number, letter in enumerate(said):
        before = steady.verdict
        assert steady.update(words[letter], number / 5) == (steady.verdict != before)
        shown.append(steady.verdict)
    assert shown == [words[letter] for letter in told]


def test_a_face_appears_gets_a_verdict_and_leaves(detector: Detector, portrait: np.ndarray) -> None:
    watcher, events = Watcher(detector.verdict), []
    for number in range(20):
        faces, news = watcher.look(number * 0.1, detector.detect(portrait))
        events += news
    assert [face.track for face in faces] == [1]
    _, news = watcher.look(4.0, [])
    events += news
    assert [(event.event, event.track) for event in events] == [("appeared", 1), ("verdict", 1), ("left", 1)]
    assert [event.verdict for event in events] == ["uncertain", "real", "real"]
    assert json.loads(as_line(events[1]))["verdict"] == "real"
    assert "face 1: real 0." in in_words(events[1])


def test_a_slow_machine_does_not_take_one_face_for_many(detector: Detector, portrait: np.ndarray) -> None:
    watcher, events = Watcher(detector.verdict), []
    for number in range(6):
        events += watcher.look(number * 1.5, detector.detect(portrait))[1]
    assert [event.event for event in events] == ["appeared", "verdict"]


def test_only_the_frame_in_which_a_face_becomes_fake_is_saved(
    bundle: Bundle, portrait: np.ndarray, tmp_path: Path
) -> None:
    detector = Detector(bundle, threshold=0.0)  # everything is fake
    watcher = Watcher(detector.verdict)
    for number in range(30):
        faces, events = watcher.look(number * 0.1, detector.detect(portrait))
        save_fakes(Look(portrait, faces, events, 10, 20), tmp_path)
    (saved,) = tmp_path.iterdir()
    assert saved.name.endswith("-face-1.jpg")
    assert np.abs(read_image(saved).astype(int) - portrait).mean() < 8


def test_looks_at_a_file_end_with_it(clip: Path, detector: Detector) -> None:
    camera = Camera(str(clip))
    seen = list(looks(camera, detector))
    camera.close()
    *looked, last = seen
    assert looked
    assert {len(look.faces) for look in looked} == {1}
    assert looked[-1].frames_per_s > 0
    assert looked[-1].latency_ms > 0
    assert [event.event for event in last.events] == ["left"]


@pytest.mark.parametrize("image", [None, np.full((240, 320, 3), 90, np.uint8)], ids=["lost", "grey"])
def test_a_look_can_be_drawn(image: np.ndarray | None) -> None:
    picture = drawn(Look(image, [], [], 12, 30))
    assert picture.dtype == np.uint8
    assert (picture > 200).any()  # words
    if image is not None:
        assert (image == 90).all()  # on a copy


# Browser


@pytest.fixture
def view(portrait: np.ndarray) -> Iterator[BrowserView]:
    view = BrowserView(port=0)
    view.show(Look(portrait, [], [], 12.5, 30))
    yield view
    view.close()


def address(view: BrowserView) -> str:
    return view.greeting.split()[2]


def get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


def answer(url: str, **headers: str) -> tuple[int, Message]:
    """Return the status and headers of an answer, which may never end."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def test_the_page_and_its_state(view: BrowserView) -> None:
    code, page = get(address(view))
    assert code == 200
    assert b"evidence, not proof" in page
    assert json.loads(get(address(view) + "state")[1]) == {
        **{"gives_pictures": True, "faces": [], "frames_per_s": 12.5, "latency_ms": 30},
    }
    assert get(address(view) + "../etc/passwd")[0] == 404


def test_the_stream_is_pictures(view: BrowserView, portrait: np.ndarray) -> None:
    with urllib.request.urlopen(address(view) + "stream", timeout=10) as stream:
        assert stream.readline() == b"--frame\r\n"
        assert stream.readline() == b"Content-Type: image/jpeg\r\n"
        stream.readline()
        content = b""
        while b"\xff\xd9\r\n" not in content:
            content += stream.read1(20_000)
    assert read_image(content[: content.rfind(b"\xff\xd9") + 2]).shape == portrait.shape


@pytest.mark.parametrize(
    ("host", "code"), [("evil.example:80", 403), ("", 403), ("localhost:1", 200), ("localhost", 200), ("[::1]:80", 200)]
)
def test_pages_of_others_cannot_read_the_camera(host: str, code: int, view: BrowserView) -> None:
    assert get(address(view) + "state", Host=host)[0] == code


@pytest.mark.parametrize(
    ("site", "code"), [("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)]
)
@pytest.mark.parametrize("path", ["", "state", "stream"])
def test_pages_of_others_cannot_show_the_camera(path: str, site: str, code: int, view: BrowserView) -> None:
    """A browser says from where a page asks; another port of this machine is the same site."""
    assert answer(address(view) + path, **{"Sec-Fetch-Site": site})[0] == code


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [("", {}, 200), ("state", {}, 200), ("stream", {}, 200), ("x", {}, 404), ("", {"Host": "evil.example"}, 403)],
)
def test_every_answer_says_that_no_other_page_may_show_it(
    path: str, headers: dict[str, str], code: int, view: BrowserView
) -> None:
    got, said = answer(address(view) + path, **headers)
    assert got == code
    assert said["Cross-Origin-Resource-Policy"] == "same-origin"
    assert said["X-Content-Type-Options"] == "nosniff"
    assert said["X-Frame-Options"] == "DENY"


def test_an_empty_host_is_not_everywhere() -> None:
    with pytest.raises(SourceError, match=r"--host is empty; give 127\.0\.0\.1"):
        BrowserView(host="", port=0)


def test_a_port_that_is_taken_is_one_sentence(view: BrowserView) -> None:
    port = int(address(view).rstrip("/").rpartition(":")[2])
    with pytest.raises(SourceError, match=rf"cannot listen on 127\.0\.0\.1 port {port}.*--port"):
        BrowserView(port=port)


# The command


def test_events_of_a_file_as_lines_of_json(portrait: np.ndarray, tmp_path: Path, capsys) -> None:
    clip = write_video(tmp_path / "clip.avi", [portrait] * 40, "MJPG")  # long enough for a slow machine, too
    assert run(["camera", "--source", str(clip), "--view", "none", "--jsonl", "-q"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first, *between, last = (event["event"] for event in events)
    assert (first, last) == ("appeared", "left")
    assert set(between) <= {"verdict"}  # none on a machine that looks only now and then
    assert set(events[0]) == {"time", "event", "track", "verdict", "p_fake", "box_xyxy"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
def test_ctrl_c_ends_a_camera_in_the_browser(portrait: np.ndarray, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", [portrait] * 300, "MJPG", fps=1)  # it does not end by itself
    process = subprocess.Popen(
        [*FACETELL, "camera", "--source", str(clip), "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    url = process.stderr.readline().split()[2]
    assert b"<title>facetell</title>" in get(url)[1]
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 130


@pytest.mark.skipif(sys.platform != "linux", reason="windows need no display elsewhere")
def test_a_window_without_a_display_is_one_line(clip: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run(["camera", "--source", str(clip), "--view", "window"]) == 1
    assert "there is no display for a window here; use --view browser" in capsys.readouterr().err


def test_frames_that_cannot_be_saved_are_told_at_once(clip: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "fakes")
    assert run(["camera", "--source", str(clip), "--view", "none", "--save-fakes", folder]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="cameras have no names elsewhere")
def test_a_camera_that_is_not_there_is_one_line(capsys) -> None:
    assert run(["camera", "--source", "7"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Error: there is no camera /dev/video7")
    assert err.count("\n") == 1
