"""A camera gives its newest frame, is lost and comes back; here it is a video file at its own pace, or a server."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.camera import Camera
from facetell.edge.detector import Detector
from facetell.edge.errors import RuntimeMissingError, SourceError
from facetell.edge.live import Look, looks

from ..pictures import VIDEO_SIZE, encoded


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
