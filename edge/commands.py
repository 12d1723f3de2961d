"""The command line of the edge: scan, camera, explain and info."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import click

from .errors import SourceError, printable

_PATH = click.Path(path_type=Path)
_PRECISION = click.Choice(["auto", "float32", "float16", "int8"])
_DASH = Path("-")
_FAILED_FILES = 3
_SIGNALLED = 128
_CHUNK_BYTES = 65_536


class NumberRange(click.FloatRange):
    """A range of numbers; click's own lets NaN through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; NaN is in no range."""
        number = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is not a number", param, ctx) if math.isnan(number) else number


def _named(ctx: click.Context, param: click.Parameter, paths: tuple[str, ...]) -> tuple[Path, ...]:
    if "" in paths:  # an unset variable of a script; Path would take it for the folder one stands in
        raise click.BadParameter("an empty path; wanted pictures or folders of them", ctx, param)
    return tuple(map(Path, paths))


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(allow_dash=True, readable=False), callback=_named)
@click.option("-0", "null", is_flag=True, help="Paths from standard input end in NUL, as find -print0 writes them.")
@click.option("--follow-links", is_flag=True, help="Go into folders that are links, too.")
@click.option("--watch", type=_PATH, metavar="DIR", help="Scan this folder, then what arrives in it, until Ctrl-C.")
@click.option("--model", type=_PATH, help="Bundle, a folder or zip.  [default: the one shipped]")
@click.option(
    "--precision",
    type=_PRECISION,
    default="auto",
    show_default=True,
    help="Which of the bundle's files; auto is int8 where that is much faster here, else float32.",
)
@click.option(
    "--runtime",
    type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime", "tensorflow"]),
    default="auto",
    show_default=True,
    help="TFLite runtime; auto is the first that is installed.",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Threads.  [default: one for each processor]")
@click.option("--threshold", type=NumberRange(0, 1), help="Fake at or above it, real below.")
@click.option("--pre-cropped", is_flag=True, help="The pictures are face crops already; look for no face.")
@click.option("--careful", is_flag=True, help="Score mild variations of each face, too: uncertain where they differ.")
@click.option(
    "--max-megapixels",
    type=NumberRange(0, 1000, min_open=True),
    default=100,
    show_default=True,
    help="Larger pictures are refused before they are decoded.",
)
@click.option("--format", "format_", type=click.Choice(["table", "csv", "json", "jsonl"]), help="Of the results.")
@click.option("-o", "--output", type=_PATH, help="File for the results; its ending names the format.  [default: -]")
@click.option("--resume", is_flag=True, help="Go on with a .jsonl file: scan only what has no row in it.")
@click.option("--copy-to", type=_PATH, metavar="DIR", help="Copy the pictures into DIR/real, fake and uncertain.")
@click.option("--heatmaps", type=_PATH, metavar="DIR", help="Show in DIR/NAME.png where the network looked.")
@click.option(
    "--fps",
    type=NumberRange(0, 1000, min_open=True),
    default=5,
    show_default=True,
    help="How many frames of a second of video to look at.",
)
@click.option(
    "--annotate", type=_PATH, metavar="MP4", help="Write the one video that is named, framed, no sound; or .webm."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def scan(
    paths: tuple[Path, ...],
    null: bool,
    follow_links: bool,
    watch: Path | None,
    model: Path | None,
    precision: str,
    runtime: str,
    workers: int | None,
    threshold: float | None,
    pre_cropped: bool,
    careful: bool,
    max_megapixels: float,
    format_: str | None,
    output: Path | None,
    resume: bool,
    copy_to: Path | None,
    heatmaps: Path | None,
    fps: float,
    annotate: Path | None,
    quiet: bool,
) -> int:
    """Say of every face in pictures and videos whether it is real or fake.

    PATHS are files, folders of them and patterns like 'trip/**/*.jpg'; - reads paths from standard input, one a
    line. Results go to standard output, as a table on a terminal and as CSV in a pipe. A file of CSV or JSONL holds
    every row so far, whatever ends the scan. Exit status 3 says that some files could not be read.
    """
    from .bundle import DEFAULT_BUNDLE, load_bundle
    from .detector import Detector
    from .display import ScanDisplay, summary
    from .explain import Explainer, save_sheets
    from .files import check_writable
    from .results import finished, precision_of, write_results
    from .runtime import silent_stderr
    from .scan import available_processors, expand_paths, is_looked_for_in, scan_files
    from .sorting import sort_copies
    from .video import SUFFIXES as VIDEOS
    from .watch import Arrivals

    output = None if output == _DASH else output
    if not paths and not watch:
        raise click.UsageError("name pictures or folders of them, or a folder to --watch")
    if null and _DASH not in paths:
        raise click.UsageError("-0 is for paths from standard input; name - among the paths")
    if output is not None and output.is_dir():
        raise SourceError(f"{output} is a folder; name a file in it with -o, as {output / 'results.jsonl'}")
    if output is not None and output.exists() and not resume:
        raise SourceError(f"{output} exists already; choose another file with -o, or go on with a .jsonl by --resume")
    format_ = format_ or _format_of(output)
    if watch and format_ == "json":
        raise click.UsageError("--watch has no end, and JSON is whole only there; choose .jsonl or .csv")
    looked_in = [path for path in (*paths, *([watch] if watch else [])) if path != _DASH]
    for option, folder in (("--copy-to", copy_to), ("--heatmaps", heatmaps)):
        if folder and any(is_looked_for_in(path, folder) for path in looked_in):
            raise click.UsageError(f"{folder} is where pictures are looked for; choose a folder outside for {option}")
    one_video = len(paths) == 1 and paths[0].is_file() and paths[0].suffix.lower() in VIDEOS
    if annotate and not (one_video and annotate.suffix.lower() in (".mp4", ".webm")):
        raise click.UsageError("--annotate OUT.mp4, or .webm, is for one video; name it alone")
    if annotate and (watch or resume):
        raise click.UsageError("--annotate goes with neither --watch nor --resume")
    if annotate and annotate.exists():
        raise SourceError(f"{annotate} exists already; choose another file for --annotate")
    if annotate:
        check_writable(annotate)
    if resume and (output is None or format_ != "jsonl"):
        raise click.UsageError("--resume goes on with a file of JSONL alone: -o FILE.jsonl")
    started = time.monotonic()
    with _until_interrupted() as interrupted, silent_stderr():
        arrivals = Arrivals(watch) if watch else None
        listed = _paths_from_stdin(b"\0" if null else b"\n") if _DASH in paths else ()
        files = expand_paths(looked_in, listed, follow_links=follow_links)
        before = output if resume and output and output.exists() else None
        if before and precision == "auto":
            precision = precision_of(before) or "auto"
        detector = Detector(
            load_bundle(model or DEFAULT_BUNDLE),
            precision=precision,
            runtime=runtime,
            threshold=threshold,
            pre_cropped=pre_cropped,
            careful=careful,
            max_megapixels=max_megapixels,
        )
        done, failed = finished(before, detector.signed | {"fps": fps}) if before else (set(), 0)
        wanted = (path for path in files if hash(str(path)) not in done)
        if arrivals:
            wanted = arrivals.after(wanted, lambda: bool(interrupted))
        show = not quiet and not (output is None and sys.stdout.isatty())
        with _opened(output, format_) as file, ScanDisplay(show=show) as display:
            results = scan_files(
                wanted,
                detector,
                workers=workers or available_processors(),
                fps=fps,
                annotated=annotate,
                stopped=lambda: bool(interrupted),
                on_video=display.on_video,
            )
            results = sort_copies(results, copy_to) if copy_to else results
            results = save_sheets(results, Explainer(detector.another()), heatmaps) if heatmaps else results
            with closing(results) as results:
                tally = write_results(display.counted(results), format_, file)
            if not (tally.verdicts or done or interrupted):
                places = ", ".join("standard input" if path == _DASH else str(path) for path in paths)
                raise SourceError(f"no pictures in {places}; wanted pictures, videos or folders of them")
        if not quiet:
            seconds = time.monotonic() - started
            click.echo(summary(tally, seconds, len(done), failed, stopped=bool(interrupted)), err=True)
    if interrupted:
        return _SIGNALLED + interrupted[0]
    return _FAILED_FILES if tally.verdicts["error"] or failed else 0


@click.command()
@click.option("--source", default="0", show_default=True, help="Number, /dev/videoN, URL, picamera2, or a video file.")
@click.option("--view", type=click.Choice(["browser", "window", "none"]), default="browser", show_default=True)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where --view browser listens; 0.0.0.0 is for all."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--jsonl", is_flag=True, help="Write a line of JSON for each face that appears, changes or leaves.")
@click.option("--save-fakes", type=_PATH, metavar="DIR", help="Save the frame in which a face's verdict becomes fake.")
@click.option("--model", type=_PATH, help="Bundle, a folder or zip.  [default: the one shipped]")
@click.option("--precision", type=_PRECISION, default="auto", show_default=True)
@click.option("--threshold", type=NumberRange(0, 1), help="Fake at or above it, real below.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but --jsonl.")
def camera(
    source: str,
    view: str,
    host: str,
    port: int,
    jsonl: bool,
    save_fakes: Path | None,
    model: Path | None,
    precision: str,
    threshold: float | None,
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
    with _until_interrupted() as interrupted, silent_stderr():
        detector = Detector(load_bundle(model or DEFAULT_BUNDLE), precision=precision, threshold=threshold)
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
    return _SIGNALLED + interrupted[0] if interrupted else 0


@click.command()
@click.argument("image", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, help="The picture to write, a .png or .jpg; must be new.")
@click.option("--model", type=_PATH, help="Bundle, a folder or zip.  [default: the one shipped]")
def explain(image: Path, output: Path, model: Path | None) -> None:
    """Show where in each face of a picture the network looked."""
    from .bundle import DEFAULT_BUNDLE, load_bundle
    from .detector import Detector
    from .explain import MEANING, Explainer
    from .images import write_image
    from .runtime import silent_stderr

    if output.exists():
        raise SourceError(f"{output} exists already; choose another file with -o")
    with silent_stderr():
        explainer = Explainer(Detector(load_bundle(model or DEFAULT_BUNDLE)))
        write_image(explainer.sheet_of(image), output)
    click.echo(MEANING)


@click.command()
@click.argument("bundle", required=False, type=_PATH)
@click.option("--verify", "public_key", metavar="PUBLIC_KEY", type=_PATH, help="Check the bundle's signature, too.")
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


def _paths_from_stdin(end: bytes) -> Iterator[Path]:
    if sys.stdin is None:  # closed by whoever started us
        return
    read = _reader_of(sys.stdin)
    rest, more = b"", True
    while more:
        chunk = read(_CHUNK_BYTES)
        more = bool(chunk)
        *lines, rest = (rest + (chunk or end)).split(end)
        for line in lines:
            path = line.removesuffix(b"\r") if end == b"\n" else line
            if path:
                yield Path(os.fsdecode(path))


def _reader_of(stdin: TextIO) -> Callable[[int], bytes]:
    try:
        # Not through the buffer: its lock, held by a thread that waits for paths, would keep the program from ending.
        return partial(os.read, stdin.fileno())
    except OSError:
        buffer: Any = stdin.buffer
        return buffer.read1


def _format_of(output: Path | None) -> str:
    if output is None:
        return "table" if sys.stdout.isatty() else "csv"
    formats = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".txt": "table"}
    if output.suffix.lower() not in formats:
        raise click.UsageError(f"{output.name} ends in none of {', '.join(formats)}; name the format with --format")
    return formats[output.suffix.lower()]


@contextmanager
def _opened(output: Path | None, format_: str) -> Iterator[TextIO]:
    from .files import GrowingFile, replacing

    # surrogateescape: a file name need not be UTF-8, and goes out as it came in.
    if output is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
    elif format_ == "json":  # one array, whole only at its end
        with (
            replacing(output) as partial,
            partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            yield file
    else:
        raw: Any = GrowingFile(output)
        with TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="", write_through=True) as file:
            yield file


@contextmanager
def _until_interrupted() -> Iterator[list[int]]:
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
