"""The command line of what a cluster can do, too: scan and crop, which edge and pipeline do here."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ...edge.commands import SIGNALLED, until_interrupted
from ...edge.errors import SourceError
from ...edge.scan_command import FAILED_FILES
from ...edge.scan_command import scan as scan_here
from ...pipeline.commands import crop as crop_here
from ...pipeline.commands import cut_faces

_MOST_THREADS = 256
_OF_FILES = (".csv", ".json", ".jsonl", ".txt")
_HERE_ALONE = ("null", "watch", "format_", "copy_to", "heatmaps", "annotate")
_OUTPUT = click.Option(
    ["-o", "--output"],
    help="File for the results; its ending names the format; with --cluster a folder of Parquet.  [default: -]",
)
_WORKERS = click.Option(
    ["--workers"],
    type=click.IntRange(1),
    help="Threads, at most 256; of a cluster, processes on all its nodes.  [default: one for each processor]",
)
_RESUME = click.Option(
    ["--resume"],
    is_flag=True,
    help="Go on with a .jsonl file, or a cluster's folder: scan only what has no row in it.",
)
_CLUSTER = click.Option(
    ["--cluster"],
    metavar="ADDRESS",
    help="Scan on a Ray cluster: auto (this machine's, or one started here), HOST:6379 or ray://HOST:10001. Every node "
    "sees PATHS; they and -o may be s3:// and gs:// addresses. Needs the extra cluster.",
)
_CROP_CLUSTER = click.Option(
    ["--cluster"],
    metavar="ADDRESS",
    help="Work on a Ray cluster: auto, HOST:6379 or ray://HOST:10001. Its nodes all see DATASET and -o.",
)


@click.pass_context
def _scan(ctx: click.Context, /, cluster: str | None, output: str | None, **options: Any) -> int:
    if cluster is None:
        if (options["workers"] or 0) > _MOST_THREADS:
            raise click.BadParameter(f"at most {_MOST_THREADS} threads", ctx, param_hint="--workers")
        if any("://" in name and not Path(name).exists() for name in options["named"]):
            raise click.UsageError("addresses such as s3://bucket/photos/ are for --cluster, as --cluster auto")
        if output and output.lower().endswith(".parquet"):
            raise click.UsageError("Parquet comes of --cluster, as --cluster auto; or choose results.jsonl, say")
        return ctx.invoke(scan_here, output=None if output is None else Path(output), **options)
    for param in scan_here.params:
        if param.name in _HERE_ALONE and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{param.opts[0]} does not go with --cluster")
    if not cluster:
        raise click.UsageError("--cluster names no cluster; wanted auto, HOST:6379 or ray://HOST:10001")
    if not options["named"] or "-" in options["named"]:
        raise click.UsageError("name folders that every node sees, or addresses such as s3://bucket/photos/")
    if output in (None, "", "-"):
        raise click.UsageError("name a folder for the results, or an address of one: -o results.parquet")
    if output.lower().endswith(_OF_FILES):
        raise click.UsageError("with --cluster the results are a folder of Parquet: -o results.parquet")
    return _scan_on(cluster, output, **{name: given for name, given in options.items() if name not in _HERE_ALONE})


def _scan_on(
    address: str,
    output: str,
    *,
    named: tuple[str, ...],
    follow_links: bool,
    model: Path | None,
    precision: str | None,
    workers: int | None,
    resume: bool,
    fps: float,
    quiet: bool,
    **settings: Any,
) -> int:
    from ...edge.bundle import DEFAULT_BUNDLE, load_bundle
    from ...edge.detector import Detector
    from ...edge.display import ScanDisplay, summary
    from ...edge.results import Tally
    from ...edge.runtime import silent_stderr
    from .engine import cluster, spread
    from .overview import PAGE, Findings, overview, read_rows
    from .rows import NONE_DONE, Parts, done_keys
    from .scan import Listing, Scanner
    from .sources import Sources, shown

    started = time.monotonic()
    parts, sources = Parts(output), Sources(named)
    if not address.startswith("ray://"):  # whose nodes may see other folders
        sources.check()
    with until_interrupted() as interrupted, silent_stderr(), parts.claimed():
        before = parts.dataset() if parts.is_there() else None
        if before and not resume:
            raise SourceError(f"{shown(output)} exists already; choose another with -o, or go on by --resume")
        make_detector = partial(Detector, load_bundle(model or DEFAULT_BUNDLE), precision=precision, **settings)
        detector = make_detector()
        done = done_keys(before, detector, fps) if before else NONE_DONE
        tally = Tally()
        arguments = (make_detector, sources, fps)
        if before and not len(done):
            click.echo(f"{shown(output)} has no row that counts for this model and rule; all is scanned.", err=True)
        with ScanDisplay(show=not quiet) as display:
            display.waits_for("starting Ray")
            with cluster(address, workers) as count:
                display.waits_for(f"starting workers: {count}")
                try:
                    with closing(spread(Listing(sources, follow_links, done), Scanner, arguments, count)) as scanned:
                        while not interrupted and (rows := next(scanned, None)) is not None:
                            parts.add(rows)
                            columns = (rows.field(name).to_pylist() for name in ("verdict", "error"))
                            for verdict, error in zip(*columns, strict=True):
                                tally.add(verdict, error)
                            display.advance(len(rows))
                finally:
                    parts.flush()
        if not (tally.verdicts or len(done) or interrupted):
            places = ", ".join(map(shown, named))
            raise SourceError(f"no pictures in {places}; wanted pictures, videos or folders of them")
        of_all = Findings()
        if parts.is_there():
            of_all = read_rows(parts.dataset(), detector, fps)
            command = shlex.join(["facetell", *map(shown, sys.argv[1:])])
            parts.write(PAGE, overview(of_all, sources, detector, command))
    if not quiet:
        seconds = time.monotonic() - started
        failed_before = of_all.tally.verdicts["error"] - tally.verdicts["error"]
        click.echo(summary(tally, seconds, len(done), failed_before, stopped=bool(interrupted)), err=True)
        if interrupted and of_all.tally.verdicts:
            click.echo("Give the same command again with --resume to go on.", err=True)
        if of_all.tally.verdicts:
            click.echo(f"{shown(output)}/{PAGE} shows the most suspicious faces.", err=True)
    if interrupted:
        return SIGNALLED + interrupted[0]
    return FAILED_FILES if of_all.tally.verdicts["error"] else 0


@click.pass_context
def _crop(ctx: click.Context, /, cluster: str | None, **options: Any) -> None:
    if cluster is None:
        return ctx.invoke(crop_here, **options)
    from .crop import cut_on_cluster

    return cut_faces(partial(cut_on_cluster, address=cluster), **options)


def _with_cluster(command: click.Command, callback: Callable[..., int | None], *options: click.Option) -> click.Command:
    """Return a command that takes some options more, or others of the same name, and gives all to a callback."""
    others = {option.name: option for option in options}
    params = [others.pop(param.name, param) if param.name else param for param in command.params]
    return click.Command(command.name, callback=callback, params=[*params, *others.values()], help=command.help)


scan = _with_cluster(scan_here, _scan, _OUTPUT, _WORKERS, _RESUME, _CLUSTER)
crop = _with_cluster(crop_here, _crop, _CROP_CLUSTER)
