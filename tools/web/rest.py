"""The plain REST interface beside the page: POST /v1/score, GET /v1/health, GET /v1/openapi.json."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import HTTPBase
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase
from pydantic import BaseModel

from ...edge.results import Doubt, FileResult
from .scorer import Scorer


class FaceOut(BaseModel):
    """One face: its box in pixels, how sure the finder is of it, the probability of a fake, the verdict.

    A face with a doubt is uncertain. One that is too small has no p_fake; it and what may not be a face decide nothing.
    """

    box_xyxy: tuple[float, float, float, float]
    score: float
    p_fake: float | None
    verdict: str
    roll_degrees: float
    doubt: Doubt | None


class ScoreOut(BaseModel):
    """What a picture shows: the verdict of its most suspicious face, or no_face.

    deciding_face is the index of that face, too_small and doubtful count the faces that may not decide.
    """

    path: str
    verdict: str
    p_fake: float | None
    faces: list[FaceOut]
    deciding_face: int | None
    too_small: int
    doubtful: int
    width: int
    height: int
    model: str
    precision: str
    rule: str
    latency_ms: float

    @classmethod
    def of(cls, result: FileResult) -> ScoreOut:
        """Return what a scan that went well has found."""
        return cls.model_validate(asdict(result))


class HealthOut(BaseModel):
    """That the server answers, and with which model."""

    status: str
    model: str


class ErrorOut(BaseModel):
    """Why there is no score."""

    detail: str


class _Password(SecurityBase):
    """For the schema alone: the server has asked for the password before."""

    model = HTTPBase(scheme="basic")
    scheme_name = "password"

    def __call__(self) -> None:
        pass


def _says(description: str) -> dict[str, Any]:
    return {"model": ErrorOut, "description": description}


_NO_PASSWORD: dict[int | str, dict[str, Any]] = {401: _says("no name and password, or wrong ones")}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _says("no multipart form that can be read"),
    411: _says("sent in chunks; say how long it is (Content-Length)"),
    413: _says("larger than the server takes"),
    415: _says("not a picture that can be read; detail says why"),
    422: _says("no file in the form"),
    429: _says("too many requests; try again after Retry-After seconds"),
}
_TYPES = ", ".join(f"image/{kind}" for kind in ("jpeg", "png", "webp", "bmp", "tiff", "gif", "avif"))
_FORM = {"content": {"multipart/form-data": {"encoding": {"file": {"contentType": _TYPES}}}}}


def interface(scorer: Scorer, *, max_waiting: int, password: bool) -> FastAPI:
    """Return the interface, to be mounted at /v1; password is whether the server asks for one.

    As many requests as max_waiting may be at work or wait, others are told to come again.
    """
    # An application, not a router: the page is mounted at / and would answer what no route takes, as a wrong method.
    app = FastAPI(
        title="facetell",
        version="1",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(_Password())] if password else [],
        responses=_NO_PASSWORD if password else {},
    )
    places = BoundedSemaphore(max_waiting)

    @app.exception_handler(RequestValidationError)
    def no_file(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "send the picture as a file in the field 'file' of a multipart form"}, 422)

    @app.get("/health")
    def health() -> HealthOut:
        """Say that the server answers, and with which model."""
        return HealthOut(status="ok", model=scorer.bundle.identity)

    @app.post("/score", responses=_REFUSALS, openapi_extra={"requestBody": _FORM})
    def score(file: Annotated[UploadFile, File(description="JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF")]) -> ScoreOut:
        """Say of every face in a picture whether it is real or fake; the picture is not kept."""
        if not places.acquire(blocking=False):
            raise HTTPException(429, "busy; try again", {"Retry-After": "1"})
        try:
            with tempfile.NamedTemporaryFile(prefix="facetell-") as kept:
                while chunk := file.file.read(1 << 20):
                    kept.write(chunk)
                kept.flush()
                result = scorer.picture(Path(kept.name), file.filename or "", shown=False).result
        finally:
            places.release()
        if result.status != "ok":
            raise HTTPException(415, result.error)
        return ScoreOut.of(result)

    return app
