"""Eight clients at once, by REST and by the page: no upload is lost, nothing is left behind, memory stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the extra web is not installed")
pytest.importorskip("psutil", reason="psutil is not installed")

import psutil

from .load import Way, by_page, by_rest, load, rss_mb, server

CLIENTS, UPLOADS = 8, 40
MORE_MB = 80  # than before; a picture takes 1.4 MB as pixels, so 80 of them that are kept are seen


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process, Path]]:
    uploads = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        with server() as (address, process):
            yield address, process, uploads


@pytest.mark.parametrize("way", [by_rest, by_page])
def test_eight_clients_at_once(way: Way, served: tuple[str, psutil.Process, Path]) -> None:
    address, process, uploads = served
    _, wrong = load(address, way, UPLOADS, CLIENTS)
    warm_mb = rss_mb(process)
    for _ in range(2):
        _, more = load(address, way, UPLOADS, CLIENTS)
        wrong += more
    assert wrong == []
    assert rss_mb(process) < warm_mb + MORE_MB
    assert [path for path in uploads.rglob("*") if path.is_file()] == []
