"""The command line of tools: the whole pipeline in one go, and its runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from ..convert.commands import export
from ..edge.errors import DatasetError
from ..pipeline.commands import crop, evaluate, merge, split, train
from ..pipeline.options import BACKBONE, RESERVE, SEED, WEIGHTS, check_start

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("raw", nargs=-1, type=_FOLDER)
@click.option("--kaggle", multiple=True, metavar="OWNER/NAME", help="Also fetch this Kaggle data set; may be repeated.")
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the run.")
@click.option("--pre-cropped", is_flag=True, help="The pictures are face crops already; only resize them.")
@RESERVE
@BACKBONE
@WEIGHTS
@click.option("--epochs", type=click.IntRange(1), help="[default: 12 to 30, more for small data sets]")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.pass_context
def pipeline(
    ctx: click.Context,
    raw: tuple[Path, ...],
    kaggle: tuple[str, ...],
    output: Path,
    pre_cropped: bool,
    reserve: tuple[str, ...],
    backbone: str,
    weights: str | None,
    epochs: int | None,
    seed: int,
) -> int:
    """From RAW folders and zips to a bundle: merge, crop, split, train, evaluate, export.

    What is finished is not done again, so a run that was stopped goes on when the same command is given again.
    """
    dataset, crops, bundle = output / "dataset", output / "crops", output / "bundle"
    if not raw and not kaggle:
        raise click.UsageError("name at least one RAW folder or zip, or a data set with --kaggle")
    check_start(backbone, weights)
    begun = (output / "train.json").exists()
    if begun and not crops.exists():
        raise DatasetError(f"{output} holds a training whose crops are not in {crops}; choose another folder with -o")
    # A training that has begun holds on to its split.
    to_split = [] if begun else [(split, {"crops": crops, "reserve": reserve, "seed": seed})]
    training = {"backbone": backbone, "weights": weights, "epochs": epochs, "seed": seed}
    to_export = [(evaluate, {"run_folder": output}), (export, {"run_folder": output, "output": bundle})]
    steps = (
        (merge, {"raw": raw, "kaggle": kaggle, "output": dataset}),
        (crop, {"dataset": dataset, "output": crops, "pre_cropped": pre_cropped}),
        *to_split,
        (train, training | {"crops": crops, "output": output}),
        *([] if (bundle / "model.json").exists() else to_export),
    )
    code = 0
    for command, arguments in steps:
        click.echo(f"== {command.name}", err=True)
        code = ctx.invoke(command, **arguments) or code
    click.echo(f"Done. Score pictures with: facetell scan --model {bundle} PATH...")
    return code


@click.command()
@click.argument("runs", nargs=-1, required=True, type=_FOLDER)
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for table and picture.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="validation", show_default=True)
@click.option("--ensemble", is_flag=True, help="Measure the mean of all runs, too.")
def compare(runs: tuple[Path, ...], output: Path, split: str, ensemble: bool) -> None:
    """Measure finished RUNS side by side: AUC per data set, size and time."""
    from .compare import PLOT, table
    from .compare import compare as compare_runs

    rows = compare_runs(runs, output, split=split, ensemble=ensemble, progress=lambda step: click.echo(step, err=True))
    click.echo(str(table(rows)))
    click.echo(f"Picture: {output / PLOT}", err=True)


@click.command()
@click.option("--images", type=_FOLDER, help="Folder of pictures.  [default: portraits of 0.3, 1 and 12 megapixels]")
@click.option("--model", type=_FOLDER, help="Bundle, a folder or zip.  [default: the one shipped]")
@click.option("--workers", type=click.IntRange(1, 256), help="Threads to go up to.  [default: one for each processor]")
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=10, show_default=True, help="More give more precise results."
)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def bench(images: Path | None, model: Path | None, workers: int | None, rounds: int, format_: str) -> None:
    """Measure how fast scans are on this machine, and where their time goes."""
    from tempfile import TemporaryDirectory

    from ..edge.bundle import DEFAULT_BUNDLE
    from ..edge.runtime import silent_stderr
    from ..edge.scan import available_processors
    from .bench import as_json, table
    from .bench import bench as measure

    with TemporaryDirectory() as work, silent_stderr():
        report = measure(
            images,
            Path(work),
            model=model or DEFAULT_BUNDLE,
            workers=workers or available_processors(),
            rounds=rounds,
            progress=lambda step: click.echo(f"{step} ...", err=True),
        )
    click.echo(as_json(report) if format_ == "json" else "\n".join(table(report)))


@click.command()
@click.option("--model", type=_FOLDER, help="Bundle, a folder or zip.  [default: the one shipped]")
def doctor(model: Path | None) -> int:
    """Check that everything a scan needs works on this machine, and say what to install."""
    from ..edge.bundle import DEFAULT_BUNDLE
    from ..edge.errors import printable
    from .doctor import examine

    sound = True
    for finding in examine(model or DEFAULT_BUNDLE):
        word, colour = {True: ("ok", "blue"), False: ("FAILS", "red"), None: ("-", None)}[finding.works]
        click.echo(f"{click.style(f'{word:>5}', colour)}  {finding.name:<15} {printable(finding.said)}")
        if finding.advice:
            click.echo(f"{'':>23}{finding.advice}")
        sound = sound and finding.works is not False
    return 0 if sound else 1
