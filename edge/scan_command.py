"""The command line of scan."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import click

from .commands import MODEL, PATH, PRECISION, SIGNALLED, NumberRange, small_faces, until_interrupted
from .errors import SourceError

_DASH = Path("-")
FAILED_FILES = 3
"""Exit status: done, but for some files that could not be read."""
_CHUNK_BYTES = 65_536


def _not_empty(ctx: click.Context, param: click.Parameter, paths: tuple[str, ...]) -> tuple[str, ...]:
    if "" in paths:  # an unset variable of a script; Path would take it for the folder one stands in
        raise click.BadParameter("an empty path; wanted pictures or folders of them", ctx, param)
    return paths


@click.command()
@click.argument("named", nargs=-1, metavar="[PATHS]...", callback=_not_empty)
@click.option("-0", "null", is_flag=True, help="Paths from standard input end in NUL, as find -print0 writes them.")
@click.option("--follow-links", is_flag=True, help="Go into folders that are links, too.")
@click.option("--watch", type=PATH, metavar="DIR", help="Scan this folder, then what arrives in it, until Ctrl-C.")
@MODEL
@PRECISION
@click.option(
    "--runtime",
    type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime", "tensorflow"]),
    default="auto",
    show_default=True,
    help="TFLite runtime; auto is the first that is installed.",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Threads.  [default: one for each processor]")
@click.option("--threshold", type=NumberRange(0, 1), help="Call a face fake from this p_fake on, real below it.")
@click.option("--pre-cropped", is_flag=True, help="The pictures are crops from facetell crop; look for no face.")
@click.option("--careful", is_flag=True, help="Score mild variations of each face, too: uncertain where they differ.")
@small_faces("on")
@click.option(
    "--max-megapixels",
    type=NumberRange(0, 1000, min_open=True),
    default=100,
    show_default=True,
    help="Larger pictures are refused before they are decoded.",
)
@click.option("--format", "format_", type=click.Choice(["table", "csv", "json", "jsonl"]), help="Of the results.")
@click.option("-o", "--output", type=PATH, help="File for the results; its ending names the format.  [default: -]")
@click.option("--resume", is_flag=True, help="Go on with a .jsonl file: scan only what has no row in it.")
@click.option("--copy-to", type=PATH, metavar="DIR", help="Copy the pictures into DIR/real, fake and uncertain.")
@click.option("--heatmaps", type=PATH, metavar="DIR", help="Show in DIR/NAME.png where the network looked.")
@click.option(
    "--fps",
    type=NumberRange(0, 1000, min_open=True),
    default=5,
    show_default=True,
    help="How many frames of a second of video to look at.",
)
@click.option(
    "--annotate",
    type=PATH,
    metavar="FILE",
    help="Draw the face boxes into a copy of one picture (.jpg, .png) or one video (.mp4, .webm; no sound).",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def scan(
    named: tuple[str, ...],
    null: bool,
    follow_links: bool,
    watch: Path | None,
    model: Path | None,
    precision: str | None,
    runtime: str,
    workers: int | None,
    threshold: float | None,
    pre_cropped: bool,
    careful: bool,
    small_faces: bool,
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
    from .results import finished, write_results
    from .runtime import silent_stderr
    from .scan import available_processors, expand_paths, is_looked_for_in, scan_files
    from .sorting import sort_copies
    from .video import SUFFIXES as VIDEOS
    from .watch import Arrivals

    paths = tuple(map(Path, named))
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
    if annotate and not (len(paths) == 1 and paths[0].is_file()):
        raise click.UsageError("--annotate is for one picture or video; name it alone")
    wanted_suffixes = (".mp4", ".webm") if paths and paths[0].suffix.lower() in VIDEOS else (".jpg", ".jpeg", ".png")
    if annotate and annotate.suffix.lower() not in wanted_suffixes:
        endings = " or ".join(wanted_suffixes)
        raise click.UsageError(f"{annotate} must end in {endings}, to hold {paths[0]}")
    if annotate and (watch or resume):
        raise click.UsageError("--annotate goes with neither --watch nor --resume")
    if annotate and annotate.exists():
        raise SourceError(f"{annotate} exists already; choose another file for --annotate")
    if annotate:
        check_writable(annotate)
    if resume and (output is None or format_ != "jsonl"):
        raise click.UsageError("--resume goes on with a file of JSONL alone: -o FILE.jsonl")
    started = time.monotonic()
    with until_interrupted() as interrupted, silent_stderr():
        arrivals = Arrivals(watch) if watch else None
        listed = _paths_from_stdin(b"\0" if null else b"\n") if _DASH in paths else ()
        files = expand_paths(looked_in, listed, follow_links=follow_links)
        before = output if resume and output and output.exists() else None
        detector = Detector(
            load_bundle(model or DEFAULT_BUNDLE),
            precision=precision,
            runtime=runtime,
            threshold=threshold,
            pre_cropped=pre_cropped,
            careful=careful,
            small_faces=small_faces,
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
            results = save_sheets(results, Explainer(detector), heatmaps) if heatmaps else results
            with closing(results) as results:
                tally = write_results(display.counted(results), format_, file)
            if not (tally.verdicts or done or interrupted):
                places = ", ".join("standard input" if path == _DASH else str(path) for path in paths)
                raise SourceError(f"no pictures in {places}; wanted pictures, videos or folders of them")
        if not quiet:
            seconds = time.monotonic() - started
            click.echo(summary(tally, seconds, len(done), failed, stopped=bool(interrupted)), err=True)
    if interrupted:
        return SIGNALLED + interrupted[0]
    return FAILED_FILES if tally.verdicts["error"] or failed else 0


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
