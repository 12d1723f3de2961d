"""The live picture as a page in a browser, on this machine alone unless told otherwise."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import cv2

from .draw import words_of
from .errors import SourceError
from .live import Look, drawn

DEFAULT_PORT = 8765
_BOUNDARY = "frame"
_JPEG_QUALITY = 80
_WAIT_S = 5.0
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")
_ALL = ("0.0.0.0", "::")
_NOTHING_YET = {"gives_pictures": False, "faces": [], "frames_per_s": 0, "latency_ms": 0}

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>facetell</title>
<link rel="icon" href="data:,">
<style>
  body { margin: 0; background: #111; color: #eee; font: 16px/1.5 system-ui, sans-serif; text-align: center }
  img { max-width: 100%; max-height: 85vh; display: block; margin: 0 auto }
  p { margin: .5em 1em }
  b.real { color: #56b4e9 } b.fake { color: #ff8c3a } b.uncertain { color: #f0e442 }
</style>
<img src="stream" alt="The live picture with a frame around each face">
<p id="faces" role="status">waiting for the camera</p>
<p>A verdict is evidence, not proof.</p>
<script>
  const place = document.getElementById("faces");
  async function ask() {
    try {
      const look = await (await fetch("state")).json();
      place.replaceChildren(...look.faces.flatMap(face => {
        const word = document.createElement("b");
        word.className = face.verdict;
        word.textContent = face.words;
        return [word, " "];
      }));
      if (!look.faces.length) place.textContent = look.gives_pictures ? "no face" : "the camera gives no picture";
      place.append(" · " + look.frames_per_s.toFixed(0) + " frames/s · " + look.latency_ms.toFixed(0) + " ms");
    } catch { place.textContent = "facetell has stopped" }
    setTimeout(ask, 500);
  }
  ask();
</script>
</html>
"""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_FROM_HERE = ("same-origin", "none")  # not same-site, which is every port of localhost, whoever listens there


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""


class BrowserView:
    """Serves a page with the newest picture to whoever opens it."""

    greeting: str
    ended = False

    def __init__(self, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        """Listen; port 0 takes a free one. Raises SourceError when the address cannot be listened on."""
        if not host:  # to a socket this is everywhere
            raise SourceError("--host is empty; give 127.0.0.1 for this machine alone, 0.0.0.0 for all")
        self._news = threading.Condition()
        self._number, self._jpeg, self._state = 0, b"", json.dumps(_NOTHING_YET).encode()
        self._closed = False
        try:
            self._server = _Server((host, port), self._handler(host))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            advice = "choose others with --host and --port"
            raise SourceError(f"cannot listen on {host} port {port}: {reason}; {advice}") from error
        name = f"[{host}]" if ":" in host else host
        self.greeting = f"watching at http://{name}:{self._server.server_address[1]}/ ; Ctrl-C ends it"
        threading.Thread(target=self._server.serve_forever, name="browser", daemon=True).start()

    def show(self, look: Look) -> None:
        """Give everybody a look."""
        pixels = cv2.cvtColor(drawn(look), cv2.COLOR_RGB2BGR)
        _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        state = {
            "gives_pictures": look.image is not None,
            "faces": [asdict(face) | {"words": words_of(face)} for face in look.faces],
            "frames_per_s": look.frames_per_s,
            "latency_ms": look.latency_ms,
        }
        with self._news:
            self._number, self._jpeg, self._state = self._number + 1, content.tobytes(), json.dumps(state).encode()
            self._news.notify_all()

    def close(self) -> None:
        """Stop listening."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def newest(self, after: int) -> tuple[int, bytes]:
        """Return the number and content of the newest picture, waiting a while for a higher number than after."""
        with self._news:
            self._news.wait_for(lambda: self._number > after or self._closed, _WAIT_S)
            return self._number, self._jpeg

    def _handler(self, host: str) -> type[BaseHTTPRequestHandler]:
        view, to_all, names = self, host in _ALL, {*_OWN_NAMES, host.lower()}

        class Handler(BaseHTTPRequestHandler):
            timeout = _WAIT_S * 2

            def do_GET(self) -> None:
                """Answer with the page, the state or the stream."""
                if not to_all and urlsplit(f"//{self.headers.get('Host', '')}").hostname not in names:
                    # A page of somebody else's, whose name was pointed at this machine, would read the camera.
                    self.send_error(403, "only for this machine")
                    return
                if self.headers.get("Sec-Fetch-Site", "none") not in _FROM_HERE:
                    self.send_error(403, "not for other pages; type the address")
                    return
                answers: dict[str, Callable[[], None]] = {
                    "/": lambda: self._answer("text/html; charset=utf-8", _PAGE.encode()),
                    "/state": lambda: self._answer("application/json", view._state),
                    "/stream": self._stream,
                }
                answers.get(self.path, lambda: self.send_error(404))()

            def end_headers(self) -> None:
                """Give every answer, errors too, what keeps pages of others from showing it."""
                for name, value in _HEADERS.items():
                    self.send_header(name, value)
                super().end_headers()

            def _answer(self, kind: str, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
                self.end_headers()
                number = 0
                try:
                    while not view._closed:
                        number, jpeg = view.newest(number)
                        if jpeg:
                            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n"
                            self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:  # whoever looked has gone
                    pass

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: the terminal is for verdicts."""

        return Handler
