"""The phone page beside the web app."""

from __future__ import annotations

from pathlib import PurePosixPath

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import RedirectResponse

from ...edge.bundle import Bundle
from ..phone.site import site_files

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
    files = site_files(bundle)
    router = APIRouter(prefix="/phone", include_in_schema=False)

    @router.get("")
    def folder() -> Response:
        return RedirectResponse("phone/")

    @router.get("/{name:path}")
    def file(name: str) -> Response:
        name = name or "index.html"
        if name not in files:
            raise HTTPException(404, "no file of the phone page")
        ending = PurePosixPath(name).suffix
        return Response(files[name], media_type=_TYPES.get(ending, "application/octet-stream"))

    return router
