"""The command line of the web app: serve."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from ...edge.commands import small_faces

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 is for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0 takes a free one.")
@click.option("--auth", metavar="NAME:PASSWORD", envvar="FACETELL_AUTH", help="Ask for these.  [env: FACETELL_AUTH]")
@click.option("--history", type=_PATH, metavar="FILE", help="Keep thumbnails and verdicts in this SQLite file.")
@click.option("--keep-days", type=click.FloatRange(0, 36_500, min_open=True), help="Drop older entries of it.")
@click.option("--phone", is_flag=True, help="Serve the phone page, too, at /phone/.")
@click.option("--model", type=_PATH, help="Bundle, a folder or zip.  [default: the one shipped]")
@small_faces("on")
@click.option("--workers", type=click.IntRange(1, 256), help="Pictures at once.  [default: one for each processor]")
@click.option("--max-upload-mb", type=click.IntRange(1), default=50, show_default=True)
@click.option("--max-megapixels", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--rate", type=click.IntRange(1), default=600, show_default=True, help="Requests a minute of one client.")
@click.option("--queue", type=click.IntRange(1), default=32, show_default=True, help="Requests that may wait.")
def serve(
    host: str,
    port: int,
    auth: str | None,
    history: Path | None,
    keep_days: float | None,
    phone: bool,
    model: Path | None,
    small_faces: bool,
    workers: int | None,
    max_upload_mb: int,
    max_megapixels: int,
    rate: int,
    queue: int,
) -> None:
    """Serve the web app: a page for people and /v1/score for programs."""
    if auth is not None and not all(auth.partition(":")):
        raise click.UsageError("--auth wants NAME:PASSWORD")
    if keep_days and not history:
        raise click.UsageError("--keep-days is for a --history FILE")
    with TemporaryDirectory(prefix="facetell-uploads-") as uploads:
        os.environ.setdefault("GRADIO_TEMP_DIR", uploads)  # Gradio makes folders there as it is imported
        from ...edge.bundle import DEFAULT_BUNDLE, load_bundle
        from ...edge.runtime import silent_stderr
        from ...edge.scan import available_processors
        from .history import History
        from .server import LOOPBACK, Limits, application
        from .server import serve as serve_application

        name, _, password = (auth or "").partition(":")
        if hasattr(signal, "SIGHUP"):  # a terminal that is closed ends it as Ctrl-C does, and uploads go
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))

        def greet(address: str) -> None:
            if host not in LOOPBACK and not auth:
                warning = "Warning: anybody who reaches this machine can use it; ask for a password with --auth."
                click.echo(warning, err=True)
            beside = f", for phones at {address}phone/" if phone else ""
            click.echo(f"serving at {address}{beside} ; Ctrl-C ends it", err=True)

        with silent_stderr():
            app = application(
                load_bundle(model or DEFAULT_BUNDLE),
                workers=workers or available_processors(),
                limits=Limits(max_upload_mb, max_megapixels, rate, queue),
                history=History(history, keep_days) if history else None,
                auth=(name, password) if auth else None,
                host=host,
                phone=phone,
                small_faces=small_faces,
            )
            serve_application(app, host, port, greet)
