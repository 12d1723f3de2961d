"""What was scored lately, kept in memory for a while so that the page can show it and give it away as files."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
from cachetools import TTLCache
from fastapi import APIRouter, HTTPException, Response

from ...edge.bundle import Bundle
from ...edge.results import write_results
from .report import report
from .scorer import Scored, as_jpeg

_KEPT_BYTES, _KEPT_S = 100_000_000, 3600
_NOT_STORED = {"Cache-Control": "no-store"}
_TEXTS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


class Shown:
    """Batches of scored files by a name that nobody can guess; the oldest go first."""

    def __init__(self, bundle: Bundle) -> None:
        """Begin with nothing."""
        self._bundle = bundle
        self._batches: TTLCache[str, Sequence[Scored]] = TTLCache(_KEPT_BYTES, _KEPT_S, getsizeof=_size)
        self._lock = Lock()

    def keep(self, batch: Sequence[Scored]) -> str:
        """Keep a batch and return its name."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._batches[name] = batch
        return name

    def batch(self, name: str, threshold: float | None) -> list[Scored]:
        """Return a batch as one threshold would have it, or the model's own; nothing when it is gone."""
        with self._lock:
            batch = self._batches.get(name, ())
        return [scored.at(threshold) for scored in batch]

    def routes(self) -> APIRouter:
        """Return the routes of the pictures and files of each batch."""
        router = APIRouter(prefix="/shown", include_in_schema=False)

        @router.get("/{name}/{number}/{part}.jpg")
        def picture(name: str, number: int, part: str, threshold: float | None = None) -> Response:
            batch = self.batch(name, threshold)
            draw: dict[str, Callable[[Scored], np.ndarray | None]] = {"faces": Scored.framed, "sheet": Scored.sheet}
            image = draw[part](batch[number]) if part in draw and 0 <= number < len(batch) else None
            if image is None:
                raise HTTPException(404, "not kept any more")
            return Response(as_jpeg(image), media_type="image/jpeg", headers=_NOT_STORED)

        @router.get("/{name}/{file}")
        def download(name: str, file: str, threshold: float | None = None) -> Response:
            batch = self.batch(name, threshold)
            ending = file.rpartition(".")[2]
            if not batch or ending not in (*_TEXTS, "pdf", "webm"):
                raise HTTPException(404, "not kept any more")
            if ending == "webm":
                return Response(batch[0].video_webm or b"", media_type="video/webm", headers=_NOT_STORED)
            headers = _NOT_STORED | {"Content-Disposition": f'attachment; filename="facetell.{ending}"'}
            if ending == "pdf":
                return Response(report(batch, self._bundle), media_type="application/pdf", headers=headers)
            text = io.StringIO(newline="")
            write_results([scored.result for scored in batch], ending, text)
            content = text.getvalue().encode("utf-8", "replace")
            return Response(content, media_type=_TEXTS[ending], headers=headers)

        return router


def _size(batch: Sequence[Scored]) -> int:
    return min(sum(scored.kept_bytes() for scored in batch), _KEPT_BYTES)  # one that is larger has it all for itself
