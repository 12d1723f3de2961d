"""The server: the page, the REST interface, and what keeps strangers out."""

from __future__ import annotations

import base64
import binascii
import ctypes
import hmac
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import gradio
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ...edge.bundle import Bundle
from ...edge.errors import SourceError
from .history import History
from .page import build_page
from .phone import phone_routes
from .pieces import HEAD, ON_LOAD, STYLE, theme
from .rest import interface
from .scorer import Scorer
from .shown import Shown
from .uploads import abandoned_deleted

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OF_GRADIO = (
    *("info", "upload", "file=", "call/score", "queue/", "run/predict", "stream/", "heartbeat/", "startup-events"),
    *("app_id", "cancel"),
)
_OPEN = (  # what the page, Gradio's clients and we need of the many paths that Gradio answers
    *("/assets/", "/static/", "/svelte/", "/theme.css", "/config", "/favicon.ico", "/manifest.json"),
    *(f"/gradio_api/{path}" for path in _OF_GRADIO),
    *("/v1/", "/shown/", "/phone"),
)
_SESSIONS = 500  # whose last results Gradio keeps, for an hour after they end
_ARENAS = -8  # M_ARENA_MAX
_POLICY = (
    # Gradio's page has scripts and styles inside it; nothing comes from, or goes to, anywhere else.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; frame-ancestors 'self' https://huggingface.co; object-src 'none'; "
    "base-uri 'self'; form-action 'self'"
)


@dataclass(frozen=True)
class Limits:
    """What one client may ask for."""

    upload_mb: float = 50
    megapixels: float = 50
    requests_per_minute: int = 600
    waiting: int = 32
    """Requests at work or in the queue."""


def application(
    bundle: Bundle,
    *,
    workers: int,
    limits: Limits,
    history: History | None = None,
    auth: tuple[str, str] | None = None,
    host: str = "127.0.0.1",
    phone: bool = False,
    small_faces: bool = True,
) -> FastAPI:
    """Return the whole web app, with the phone page at /phone/ or without.

    auth is a name and a password that it then asks for; small_faces is Detector's.
    """
    scorer = Scorer(bundle, workers=workers, max_megapixels=limits.megapixels, small_faces=small_faces)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        async with abandoned_deleted():
            yield
        scorer.stop()

    app = FastAPI(openapi_url=None, lifespan=running)
    app.mount("/v1", interface(scorer, max_waiting=limits.waiting, password=auth is not None))
    shown = Shown(bundle)
    app.include_router(shown.routes())
    if phone:
        app.include_router(phone_routes(bundle))
    page = build_page(scorer, shown, history, phone=phone)
    page.queue(max_size=limits.waiting, default_concurrency_limit=workers)
    page.state_session_capacity = _SESSIONS
    limiter = MovingWindowRateLimiter(MemoryStorage())
    per_minute = RateLimitItemPerMinute(limits.requests_per_minute)

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        client = request.client.host if request.client else ""
        path, headers = request.url.path, request.headers
        length, origin = headers.get("content-length", "0"), headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return _refusal(403, "another page's script cannot use this server")
        if path != "/" and not path.startswith(_OPEN):
            return _refusal(404, "nothing is here")
        if auth and not _is_let_in(headers.get("authorization", ""), auth):
            if not limiter.hit(per_minute, "password", client):
                return _refusal(429, "too many wrong passwords; try again in a minute", {"Retry-After": "60"})
            return _refusal(401, "name and password, please", {"WWW-Authenticate": 'Basic realm="facetell"'})
        if not length.isdigit() or int(length) > limits.upload_mb * 1e6:
            return _refusal(413, f"more than {limits.upload_mb:g} MB")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return _refusal(411, "say how long it is (Content-Length)")
        if request.method == "POST" and not limiter.hit(per_minute, client):
            return _refusal(429, "too many requests; try again in a minute", {"Retry-After": "60"})
        response = await answer(request)
        if response.status_code == 503:  # Gradio's queue is full
            return _refusal(429, "busy; try again", {"Retry-After": "5"})
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    if host in LOOPBACK:  # a page of somebody else's, whose name was pointed at this machine, would use us
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]", "testserver"])
    return gradio.mount_gradio_app(
        app,
        page,
        path="/",
        allowed_paths=[],
        max_file_size=int(limits.upload_mb * 1e6),
        show_error=True,
        ssr_mode=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        theme=theme(),
        css=STYLE,
        head=HEAD,
        js=ON_LOAD,
        favicon_path=str(Path(__file__).parent / "icon.svg"),
    )


def serve(app: FastAPI, host: str, port: int, greeting: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; greeting is told the address. Raises SourceError when it cannot be listened on."""
    _share_memory()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, proto=socket.IPPROTO_TCP)  # unnamed, asyncio waits 40 ms before an answer's end
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(
            f"cannot listen on {host} port {port}: {reason}; choose others with --host and --port"
        ) from error
    with listening:
        greeting(f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/")
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, proxy_headers=False, ws="none")
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # pages that are open as it ends are no error
        uvicorn.Server(config).run(sockets=[listening])


def _share_memory() -> None:
    """Let threads use the memory that others have freed; else glibc keeps some for each, and it looks like a leak."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_ARENAS, 2)


def _is_let_in(header: str, auth: tuple[str, str]) -> bool:
    kind, _, given = header.partition(" ")
    try:
        said = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return False
    return kind.lower() == "basic" and hmac.compare_digest(said, ":".join(auth).encode())


def _refusal(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)
