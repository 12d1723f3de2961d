"""The command line of the edge: scan and info."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from .errors import SourceError, printable

if TYPE_CHECKING:
    from .results import FileResult

_PATH = click.Path(path_type=Path)
_DASH = Path("-")
_FAILED_FILES = 3
_SIGNALLED = 128


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
@click.argument("paths", nargs=-1, required=True, type=click.Path(allow_dash=True), callback=_named)
@click.option("--model", type=_PATH, help="Bundle, a folder or zip.  [default: the one shipped]")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "float16", "int8"]),
    default="auto",
    show_default=True,
    help="Which of the bundle's files; auto is the most exact.",
)
@click.option(
    "--runtime",
    type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime", "tensorflow"]),
    default="auto",
    show_default=True,
    help="TFLite runtime; auto is the first that is installed.",
)
@click.option("--threshold", type=NumberRange(0, 1), help="Fake at or above it, real below.")
@click.option("--pre-cropped", is_flag=True, help="The pictures are face crops already; look for no face.")
@click.option("--careful", is_flag=True, help="Score mild variations of each face, too: uncertain where they differ.")
@click.option("--format", "format_", type=click.Choice(["table", "csv", "json", "jsonl"]), help="Of the results.")
@click.option("-o", "--output", type=_PATH, help="File for the results; its ending names the format.  [default: -]")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def scan(
    paths: tuple[Path, ...],
    model: Path | None,
    precision: str,
    runtime: str,
    threshold: float | None,
    pre_cropped: bool,
    careful: bool,
    format_: str | None,
    output: Path | None,
    quiet: bool,
) -> int:
    """Say of every face in pictures whether it is real or fake.

    PATHS are pictures and folders of them; - reads paths from standard input, one a line. Results go to standard
    output, as a table on a terminal and as CSV in a pipe. Exit status 3 says that some files could not be read.
    """
    from .bundle import DEFAULT_BUNDLE, load_bundle
    from .detector import Detector
    from .results import write_results
    from .runtime import silent_stderr
    from .scan import expand_paths

    output = None if output == _DASH else output
    if output is not None and output.exists():
        raise SourceError(f"{output} exists already; choose another file with -o")
    format_ = format_ or _format_of(output)
    files = expand_paths([path for path in paths if path != _DASH], _paths_from_stdin() if _DASH in paths else ())
    bundle = load_bundle(model or DEFAULT_BUNDLE)
    with silent_stderr():
        detector = Detector(
            bundle,
            precision=precision,
            runtime=runtime,
            threshold=threshold,
            pre_cropped=pre_cropped,
            careful=careful,
        )
    started = time.monotonic()
    with _until_interrupted() as interrupted, _opened(output) as file:
        results = _watched((detector.scan_file(path) for path in files), interrupted, show=not quiet)
        counts = write_results(results, format_, file)
        if not counts and not interrupted:
            raise SourceError(f"no pictures in {', '.join(map(str, paths))}; wanted pictures or folders of them")
    if not quiet:
        click.echo(_summary(counts, time.monotonic() - started, stopped=bool(interrupted)), err=True)
    if interrupted:
        return _SIGNALLED + interrupted[0]
    return _FAILED_FILES if counts["error"] else 0


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


def _paths_from_stdin() -> Iterator[Path]:
    lines = (line.removesuffix(b"\r") for line in sys.stdin.buffer.read().split(b"\n"))
    return (Path(os.fsdecode(line)) for line in lines if line)


def _format_of(output: Path | None) -> str:
    if output is None:
        return "table" if sys.stdout.isatty() else "csv"
    formats = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".txt": "table"}
    if output.suffix.lower() not in formats:
        raise click.UsageError(f"{output.name} ends in none of {', '.join(formats)}; name the format with --format")
    return formats[output.suffix.lower()]


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    from .files import replacing

    # surrogateescape: a file name need not be UTF-8, and goes out as it came in.
    if output is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
    else:
        with (
            replacing(output) as partial,
            partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
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


def _watched(results: Iterable[FileResult], interrupted: list[int], *, show: bool) -> Iterator[FileResult]:
    """Pass results on until interrupted, with a count on a terminal's stderr."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), "scanning", MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as progress:
        task = progress.add_task("scanning", total=None)
        for result in results:
            yield result
            progress.advance(task)
            if interrupted:
                return


def _summary(counts: Counter[str], seconds: float, *, stopped: bool) -> str:
    total = counts.total()
    parts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts.most_common())
    return (
        f"{'Stopped after' if stopped else 'Scanned'} {total} file{'s' * (total != 1)} in {seconds:.1f} s: {parts}. "
        "A verdict is evidence, not proof."
    )
