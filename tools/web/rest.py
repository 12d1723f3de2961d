"""The plain REST interface beside the page: POST /v1/score, GET /v1/health, GET /v1/openapi.json."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any

from fastapi import APIRouter, File, HTTPException, UploadFile
from pydantic import BaseModel

from .scorer import Scorer


class FaceOut(BaseModel):
    """One face: its box in pixels, how sure the finder is of it, the probability of a fake, the verdict."""

    box_xyxy: tuple[float, float, float, float]
    score: float
    p_fake: float
    verdict: str


class ScoreOut(BaseModel):
    """What a picture shows: the verdict of its most suspicious face, or no_face."""

    path: str
    verdict: str
    p_fake: float | None
    faces: list[FaceOut]
    width: int
    height: int
    model: str
    precision: str
    rule: str
    latency_ms: float


class HealthOut(BaseModel):
    """That the server answers, and with which model."""

    status: str
    model: str


class ErrorOut(BaseModel):
    """Why there is no score."""

    detail: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorOut, "description": "no multipart form that can be read"},
    413: {"model": ErrorOut, "description": "larger than the server takes"},
    415: {"model": ErrorOut, "description": "not a picture that can be read; detail says why"},
    429: {"model": ErrorOut, "description": "too many requests; try again after Retry-After seconds"},
}


def routes(scorer: Scorer, *, max_waiting: int) -> APIRouter:
    """Return the routes; as many requests as max_waiting may be at work or wait, others are told to come again."""
    router = APIRouter(prefix="/v1")
    places = BoundedSemaphore(max_waiting)

    @router.get("/health")
    def health() -> HealthOut:
        """Say that the server answers, and with which model."""
        return HealthOut(status="ok", model=scorer.bundle.identity)

    @router.post("/score", responses=_REFUSALS)
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
        return ScoreOut.model_validate(asdict(result))

    return router
