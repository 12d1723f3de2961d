"""Browsers as Debian ships them, driven through what each speaks itself: a page is opened, JavaScript run in it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

Run = Callable[[str], Any]
"""Awaits a JavaScript expression in the page, an async function's call say, and returns its value."""

_WAIT_S = 300
_MINI_BROWSER = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)


@contextmanager
def chromium(url: str) -> Iterator[Run]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        page.goto(url)
        yield page.evaluate
        browser.close()


@contextmanager
def firefox(url: str) -> Iterator[Run]:
    """Through Marionette: lengths and JSON over a socket."""
    port = _free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        Path(profile, "user.js").write_text(f'user_pref("marionette.port", {port});\n', encoding="utf-8")
        command = ["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", profile]
        environment = os.environ | {"HOME": profile, "MOZ_DISABLE_CONTENT_SANDBOX": "1"}
        with _process(command, environment), _connected(port) as connection:
            file = connection.makefile("rb")

            def answer() -> Any:
                length = b""
                while (digit := file.read(1)) != b":":
                    length += digit
                return json.loads(file.read(int(length)))

            def ask(command: str, given: dict[str, Any]) -> Any:
                message = json.dumps([0, 1, command, given]).encode()
                connection.sendall(str(len(message)).encode() + b":" + message)
                _, _, error, value = answer()
                assert error is None, error
                return value

            answer()  # its greeting
            ask("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"timeouts": {"script": _WAIT_S * 1000}}}})
            ask("WebDriver:Navigate", {"url": url})
            yield lambda code: _value(ask("WebDriver:ExecuteAsyncScript", {"script": _script(code)})["value"])
            ask("Marionette:Quit", {"flags": ["eForceQuit"]})


@contextmanager
def webkit(url: str) -> Iterator[Run]:
    """Through WebKitWebDriver, on a screen that nobody sees."""
    port, display = _free_port(), f":{os.getpid() % 1000 + 1000}"
    environment = os.environ | {"DISPLAY": display, "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
    with (
        _process(["Xvfb", display, "-screen", "0", "1280x1024x24"], environment),
        _process(["WebKitWebDriver", f"--port={port}"], environment),
    ):
        _connected(port).close()

        def ask(path: str, given: dict[str, Any] | None, method: str = "POST") -> Any:
            content = None if given is None else json.dumps(given).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/session{path}", content, method=method)
            with urllib.request.urlopen(request, timeout=_WAIT_S) as response:
                return json.load(response)["value"]

        options = {"binary": str(_MINI_BROWSER), "args": ["--automation"]}
        wanted = {"webkitgtk:browserOptions": options, "timeouts": {"script": _WAIT_S * 1000}}
        session = ask("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        ask(f"/{session}/url", {"url": url})
        yield lambda code: _value(ask(f"/{session}/execute/async", {"script": _script(code), "args": []}))
        ask(f"/{session}", None, "DELETE")


ENGINES: dict[str, Callable[[str], AbstractContextManager[Run]]] = {
    "chromium": chromium,
    "firefox": firefox,
    "webkit": webkit,
}


def missing(engine: str) -> str:
    """Return what is not installed of what an engine needs, empty when nothing is."""
    needed = {"chromium": ["chromium"], "firefox": ["firefox-esr"], "webkit": ["WebKitWebDriver", "Xvfb"]}[engine]
    return ", ".join(program for program in needed if shutil.which(program) is None)


def _script(code: str) -> str:
    # Playwright's form, a function or an expression, in that of WebDriver: a callback is the last argument.
    return (
        "const done = arguments[arguments.length - 1];"
        f"Promise.resolve().then(() => ({code})).then(it => typeof it === 'function' ? it() : it)"
        ".then(value => done({value}), error => done({error: String(error)}));"
    )


def _value(answer: dict[str, Any]) -> Any:
    assert "error" not in answer, answer["error"]
    return answer.get("value")


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            connection.settimeout(_WAIT_S)
            return connection


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
