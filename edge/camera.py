"""A camera of which one always has the newest frame: webcam, Raspberry Pi camera, stream, or a file as if live."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from .errors import RuntimeMissingError, SourceError

PICAMERA2 = "picamera2"
_RETRY_S = 1.0
_OPEN_TIMEOUT_MS = 5_000
_READ_TIMEOUT_MS = 3_000  # OpenCV would wait for half a minute
_HLS_TIMEOUT_MS = 15_000  # HLS comes in pieces of some seconds
_PI_SIZE = (1280, 720)


@dataclass(frozen=True)
class Frame:
    """One picture of a camera."""

    number: int
    """From 1; numbers are missing where frames were not looked at."""
    time_s: float
    """time.monotonic() when it was taken."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""


class _Device(Protocol):
    """What gives frames, one after the other."""

    def read(self) -> np.ndarray | None:
        """Return the next frame, (H, W, 3) uint8 RGB; None when there is none any more."""
        ...

    def close(self) -> None:
        """Give the device back."""
        ...


class Camera:
    """Reads a camera as fast as it gives frames, in a thread of its own, and keeps the last one."""

    def __init__(self, source: str) -> None:
        """Open a camera: a number, a device, a URL, a video file, or picamera2.

        Raises SourceError when it gives no picture now, RuntimeMissingError when picamera2 is not installed. One that
        stops later is opened again and again until it comes back.
        """
        self.source = source
        self._is_file = Path(source).is_file()
        self.ended = False
        """A file is at its end."""
        self.lost = False
        """It gives no pictures at present."""
        self._device: _Device | None = _open(source)
        first = self._device.read()
        if first is None:
            self._device.close()
            raise SourceError(_no_picture(source))
        self._frame = Frame(1, time.monotonic(), first)
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def newest(self, after: int, timeout_s: float) -> Frame | None:
        """Return the newest frame, waiting for one of a higher number than after; None when none came in time."""
        with self._news:
            self._news.wait_for(lambda: self._frame.number > after or self.ended, timeout_s)
            return self._frame if self._frame.number > after else None

    def close(self) -> None:
        """Stop reading and give the camera back."""
        self._closed.set()
        self._thread.join(timeout=5)

    def _read(self) -> None:
        while not self._closed.is_set():
            image = self._next()
            if image is not None:
                with self._news:
                    self.lost = False
                    self._frame = Frame(self._frame.number + 1, time.monotonic(), image)
                    self._news.notify_all()
                continue
            if self._device:
                self._device.close()
                self._device = None
            with self._news:
                self.lost, self.ended = True, self._is_file
                self._news.notify_all()
            if self.ended:
                return
            self._closed.wait(_RETRY_S)
            with suppress(Exception):  # it is not back yet
                self._device = _open(self.source)
        if self._device:
            self._device.close()

    def _next(self) -> np.ndarray | None:
        try:
            return self._device.read() if self._device else None
        except Exception:  # a driver that fails is a camera that is gone
            return None


class _Capture:
    """A camera or stream that OpenCV reads."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    def read(self) -> np.ndarray | None:
        read, frame = self._capture.read()
        if not read or frame is None:
            return None
        if frame.ndim != 3:  # some drivers give raw lines unless they are told what to give
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"YUYV"))
            read, frame = self._capture.read()
            if not read or frame is None or frame.ndim != 3:
                return None
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        self._capture.release()


class _File(_Capture):
    """A video file, at the pace it was taken."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        super().__init__(capture)
        self._interval_s = 1 / (capture.get(cv2.CAP_PROP_FPS) or 25)
        self._due_s = time.monotonic()

    def read(self) -> np.ndarray | None:
        time.sleep(max(self._due_s - time.monotonic(), 0))
        self._due_s += self._interval_s
        return super().read()


class _PiCamera:
    """A camera on the ribbon cable of a Raspberry Pi."""

    def __init__(self) -> None:
        try:
            picamera2: Any = import_module(PICAMERA2)
        except ImportError as error:
            raise RuntimeMissingError(
                "picamera2 is not installed here; run: sudo apt install python3-picamera2, and make the environment "
                "with: python3 -m venv --system-site-packages (see docs/raspberry-pi.md)"
            ) from error
        try:
            self._camera = picamera2.Picamera2()
            self._camera.configure(
                self._camera.create_video_configuration(main={"size": _PI_SIZE, "format": "BGR888"})
            )  # libcamera's BGR888 is RGB in memory
            self._camera.start()
        except Exception as error:  # libcamera raises IndexError for no camera, RuntimeError for a busy one
            raise SourceError(f"the Raspberry Pi camera cannot be opened: {error}; see: rpicam-hello") from error

    def read(self) -> np.ndarray | None:
        try:
            return self._camera.capture_array("main")
        except Exception:  # gone; it is opened again
            return None

    def close(self) -> None:
        with suppress(Exception):
            self._camera.close()


def cameras() -> list[str]:
    """Return the devices that may be cameras, on Linux; elsewhere nobody says."""
    return sorted(str(path) for path in Path("/dev").glob("video*")) if sys.platform == "linux" else []


def _open(source: str) -> _Device:
    if source == PICAMERA2:
        return _PiCamera()
    if "://" in source:
        read_ms = _HLS_TIMEOUT_MS if ".m3u8" in source else _READ_TIMEOUT_MS
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, read_ms]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, timeouts)
        if not capture.isOpened():
            raise SourceError(f"{source} gives no stream; wanted the address of an MJPEG, RTSP or HLS stream")
        return _Capture(capture)
    if Path(source).is_file():
        capture = cv2.VideoCapture(str(Path(source).resolve()), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SourceError(f"{source} is no video that can be decoded")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return _File(capture)
    device = f"/dev/video{source}" if source.isdigit() else source
    if sys.platform == "linux":
        _check_device(device)
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        raise SourceError(_no_picture(source))
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return _Capture(capture)


def _check_device(device: str) -> None:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise SourceError(_no_picture(device)) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            advice = "run: sudo usermod -aG video $USER, and log in anew"
            raise SourceError(f"{device} may not be used by you; {advice}") from error
        if not device.startswith("/dev/"):
            raise SourceError(
                f"there is no file {device}; wanted the number of a camera, /dev/videoN, a URL, {PICAMERA2} or a video"
            ) from error
        found = ", ".join(cameras()) or "none"
        raise SourceError(
            f"there is no camera {device} (found: {found}); plug one in or name another with --source; a Raspberry "
            f"Pi's own is --source {PICAMERA2}"
        ) from error


def _no_picture(source: str) -> str:
    return f"{source} gives no picture; another program may be using it: close that, or name another with --source"
