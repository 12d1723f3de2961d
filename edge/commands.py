"""The command line of the edge but for scan: camera, explain and info; and what scan shares with them."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from .errors import ImageError, SourceError, printable

_Command = TypeVar("_Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
PRECISION = click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8"]),
    help="Which of the bundle's files.  [default: the most exact]",
)
MODEL = click.option("--model", type=PATH, help="Bundle, a folder or zip.  [default: the one shipped]")


def small_faces(default: str) -> Callable[[_Command], _Command]:
    """Return the option --small-faces, on or off; a command is given whether it is on."""
    return click.option(
        "--small-faces",
        type=click.Choice(["on", "off"]),
        default=default,
        show_default=True,
        callback=lambda ctx, param, value: value == "on",
        help="Also search parts of each picture, for faces too small to be found in a look at the whole.",
    )


SIGNALLED = 128
"""What is added to the number of the signal that ended a command, for its exit status."""


class NumberRange(click.FloatRange):
    """A range of numbers; click's own lets NaN through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; NaN is in no range."""
        number = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is not a number", param, ctx) if math.isnan(number) else number


@click.command()
@click.option("--source", default="0", show_default=True, help="Number, /dev/videoN, URL, picamera2, or a video file.")
@click.option("--view", type=click.Choice(["browser", "window", "none"]), default="browser", show_default=True)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where --view browser listens; 0.0.0.0 is for all."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--jsonl", is_flag=True, help="Write a line of JSON for each face that appears, changes or leaves.")
@click.option("--save-fakes", type=PATH, metavar="DIR", help="Save the frame in which a face's verdict becomes fake.")
@MODEL
@PRECISION
@click.option("--threshold", type=NumberRange(0, 1), help="Call a face fake from this p_fake on, real below it.")
@small_faces("off")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but --jsonl.")
def camera(
    source: str,
    view: str,
    host: str,
    port: int,
    jsonl: bool,
    save_fakes: Path | None,
    model: Path | None,
    precision: str | None,
    threshold: float | None,
    small_faces: bool,
    quiet: bool,
) -> int:
    """Watch a camera: verdicts on the faces before it, live, until Ctrl-C."""
    from . import live
    from .bundle import DEFAULT_BUNDLE, load_bundle
    from .camera import Camera
    from .detector import Detector
    from .files import check_writable
    from .runtime import silent_stderr
    from .views import open_view

    if save_fakes:
        check_writable(save_fakes / "a.jpg")
    with until_interrupted() as interrupted, silent_stderr():
        bundle = load_bundle(model or DEFAULT_BUNDLE)
        detector = Detector(bundle, precision=precision, threshold=threshold, small_faces=small_faces)
        with closing(Camera(source)) as opened, closing(open_view(view, host, port)) as shown:
            if not quiet:
                click.echo(shown.greeting, err=True)
            lost = False
            for look in live.looks(opened, detector, lambda: bool(interrupted) or shown.ended):
                shown.show(look)
                if opened.lost != lost and not (opened.ended or quiet):
                    lost = opened.lost
                    click.echo("the camera is gone; waiting for it" if lost else "the camera is back", err=True)
                for event in look.events:
                    if jsonl:
                        click.echo(live.as_line(event))
                    elif not quiet:
                        click.echo(live.in_words(event), err=True)
                if save_fakes:
                    live.save_fakes(look, save_fakes)
    return SIGNALLED + interrupted[0] if interrupted else 0


@click.command()
@click.argument("image", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The picture to write, a .png or .jpg; must be new.")
@MODEL
@small_faces("on")
def explain(image: Path, output: Path, model: Path | None, small_faces: bool) -> None:
    """Show where the network looked in each face of a picture, at most the 20 most suspicious."""
    from .bundle import DEFAULT_BUNDLE, load_bundle
    from .detector import Detector
    from .explain import MEANING, Explainer
    from .images import write_image
    from .runtime import silent_stderr

    if image.is_dir():
        raise SourceError(f"{image} is a folder; name one picture, or scan it with --heatmaps FOLDER")
    if output.exists():
        raise SourceError(f"{output} exists already; choose another file with -o")
    with silent_stderr():
        explainer = Explainer(Detector(load_bundle(model or DEFAULT_BUNDLE), small_faces=small_faces))
        try:
            sheet = explainer.sheet_of(image)
        except ImageError as error:
            raise ImageError(f"{image}: {error}") from error
        write_image(sheet, output)
    click.echo(f"{output}: {MEANING}")


@click.command()
@click.argument("bundle", required=False, type=PATH)
@click.option("--verify", "public_key", metavar="PUBLIC_KEY", type=PATH, help="Check the bundle's signature, too.")
def info(bundle: Path | None, public_key: Path | None) -> None:
    """Show what a bundle is, after checking every file in it against its hash."""
    from .bundle import DEFAULT_BUNDLE, load_bundle
    from .runtime import installed_runtimes
    from .signature import verify_signature

    path = bundle or DEFAULT_BUNDLE
    loaded = load_bundle(path)
    thresholds = loaded.thresholds
    lines = {
        "model": f"{loaded.identity}, {loaded.backbone}, {loaded.input_size_px} px",
        "at": str(path),
        "files": ", ".join(f"{c.file} ({c.size_bytes / 1e6:.2f} MB)" for c in loaded.classifiers.values()),
        "verdict": f"fake from {thresholds.fake:.4g}, real up to {thresholds.real:.4g}; {thresholds.chosen_at}",
        "trained on": ", ".join(loaded.trained_on),
        "license": loaded.license,
        "runtimes here": ", ".join(installed_runtimes()) or "none",
    }
    if public_key:
        verify_signature(path, public_key)
        lines["signature"] = f"valid, by {public_key}"
    for name, value in lines.items():
        click.echo(f"{name:>14}  {printable(value)}")


@contextmanager
def until_interrupted() -> Iterator[list[int]]:
    """Yield a list that is empty until Ctrl-C or SIGTERM; a second Ctrl-C ends the program at once."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
