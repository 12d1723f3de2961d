"""Where a live picture is shown: in a browser, in a window, or nowhere."""

from __future__ import annotations

import os
import sys
from typing import Protocol

import cv2

from .browser import BrowserView
from .errors import RuntimeMissingError
from .live import Look, drawn

_TITLE = "facetell - q to quit"
_KEYS = (ord("q"), 27)


class View(Protocol):
    """Something that shows looks."""

    greeting: str
    ended: bool
    """Whether whoever watches wants no more."""

    def show(self, look: Look) -> None:
        """Show a look."""
        ...

    def close(self) -> None:
        """Show nothing any more."""
        ...


class NoView:
    """Shows nothing."""

    greeting = "watching; Ctrl-C ends it"
    ended = False

    def show(self, look: Look) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class WindowView:
    """A window of OpenCV's, where it has them."""

    greeting = "watching in a window; q there, or Ctrl-C here, ends it"

    def __init__(self) -> None:
        """Open the window; raises RuntimeMissingError where this OpenCV, or this machine, has none."""
        self.ended = False
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise RuntimeMissingError("there is no display for a window here; use --view browser or none")
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise RuntimeMissingError(
                "this OpenCV has no windows; use --view browser, or: pip uninstall opencv-python-headless; "
                "pip install 'opencv-python<4.12'"
            ) from error

    def show(self, look: Look) -> None:
        """Show a look; q, Esc and the window's own button end it."""
        if not self.ended:  # a window that was closed would open again
            cv2.imshow(_TITLE, cv2.cvtColor(drawn(look), cv2.COLOR_RGB2BGR))
            key = cv2.waitKey(1) & 0xFF
            self.ended = key in _KEYS or cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyWindow(_TITLE)


def open_view(kind: str, host: str, port: int) -> View:
    """Return a browser, window or none view; raises what theirs raise."""
    if kind == "browser":
        return BrowserView(host, port)
    return WindowView() if kind == "window" else NoView()
