"""The phone page beside the web app."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from ...edge.bundle import Bundle
from ..phone.site import packed_files, site_files

_TYPES = {  # not every system knows all of them
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


def phone_routes(bundle: Bundle) -> APIRouter:
    """Return the routes of the phone page, at /phone/, with a bundle; raises what site_files raises."""
    files, packed = site_files(bundle), packed_files()
    tags = {name: f'W/"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in files.items()}
    router = APIRouter(prefix="/phone", include_in_schema=False)

    @router.get("")
    def folder() -> Response:
        return RedirectResponse("phone/")

    @router.api_route("/{name:path}", methods=["GET", "HEAD"])
    def file(name: str, request: Request) -> Response:
        name = name or "index.html"
        if name not in files:
            raise HTTPException(404, "no file of the phone page")
        headers = {"ETag": tags[name], "Cache-Control": "no-cache"}
        if tags[name] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = files[name]
        if name in packed:
            headers["Vary"] = "Accept-Encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                content, headers["Content-Encoding"] = packed[name], "gzip"
        ending = PurePosixPath(name).suffix
        return Response(content, media_type=_TYPES.get(ending, "application/octet-stream"), headers=headers)

    return router
