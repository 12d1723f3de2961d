"""What people send to the page: Gradio takes files of this machine and addresses as well, and this server does not."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils, route_utils
from gradio.context import LocalContext
from gradio.utils import get_upload_folder

_ABANDONED_S = 3600
_LOOKED_FOR_S = 300


class _Upload(route_utils.GradioUploadFile):
    """Gradio names folders by what is in them: the same picture of two people would be one, gone for the second."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sha = hashlib.sha256(secrets.token_bytes())


async def _refuse(url: str, *args: Any, **options: Any) -> str:
    raise gr.Error("send the file itself, not its address", print_exception=False)


def only_uploads(page: gr.Blocks) -> None:
    """Let a page take nothing but uploads, each in a folder of its own."""
    page.has_launched = True  # else, as when it is mounted, Gradio takes files from anywhere
    processing_utils.async_ssrf_protected_download = _refuse
    route_utils.GradioUploadFile = _Upload


@contextmanager
def uploaded(file: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Give the path and the name of what Gradio says was uploaded, and delete it at the end."""
    path = Path(file["path"])
    try:
        yield path, file.get("orig_name") or path.name
    finally:
        if path.is_relative_to(get_upload_folder()):  # the samples are not
            _delete(path)
            blocks = LocalContext.blocks.get(None)
            for names in blocks.temp_file_sets if blocks else ():  # Gradio remembers the name of every file
                names.discard(str(path))


@asynccontextmanager
async def abandoned_deleted(app: object) -> AsyncIterator[None]:
    """While a server runs, delete uploads that were never scored: a page was closed, or the queue was full."""

    async def delete() -> None:
        while True:
            await asyncio.sleep(_LOOKED_FOR_S)
            await asyncio.to_thread(delete_older_than, _ABANDONED_S)

    task = asyncio.create_task(delete())
    try:
        yield
    finally:
        task.cancel()


def delete_older_than(age_s: float) -> None:
    """Delete all uploads that have waited for longer."""
    for path in Path(get_upload_folder()).glob("*/*"):
        with suppress(OSError):
            if path.lstat().st_mtime < time.time() - age_s:
                _delete(path)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()
