"""The command line of the pipeline: eda, merge, audit, crop, split, train, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..edge.commands import NumberRange
from ..edge.errors import DatasetError, printable
from .options import BACKBONE, RESERVE, SEED, WEIGHTS, Ratios, check_start
from .progress import counter, training_display

if TYPE_CHECKING:
    from .crop import Cut

_FOLDER = click.Path(path_type=Path)
_FAILED_FILES = 3
_RESERVE_FROM = 3
"""Sources, so that two or more are left to train on."""


@click.command()
@click.argument("dataset", type=_FOLDER)
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the page and its pictures.")
def eda(dataset: Path, output: Path) -> int:
    """Show what is in DATASET, a raw folder or zip, a merged one or crops, and what to mend before training."""
    from .eda import PAGE
    from .eda import eda as explore
    from .survey import UNREADABLE

    with counter("looking") as advance:
        found, findings = explore(dataset, output, progress=advance)
    for finding in findings:
        click.echo(printable(f"{finding.level:>5}  {finding.said} {finding.advice}".rstrip()))
    click.echo(f"Page: {output / PAGE}", err=True)
    return _FAILED_FILES if any(left.kind == UNREADABLE for left in found.left_out) else 0


@click.command()
@click.argument("raw", nargs=-1, type=_FOLDER)
@click.option("--kaggle", multiple=True, metavar="OWNER/NAME", help="Also fetch this Kaggle data set; may be repeated.")
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the merged data set.")
def merge(raw: tuple[Path, ...], kaggle: tuple[str, ...], output: Path) -> int:
    """Bring raw folders and zips of real and fake pictures together."""
    from .merge import merge as merge_sources
    from .sources import fetch_kaggle, open_sources

    if not raw and not kaggle:
        raise click.UsageError("name at least one RAW folder or zip, or a data set with --kaggle")
    sources = [*open_sources(raw), *map(fetch_kaggle, kaggle)]
    with counter("merging") as advance:
        report = merge_sources(sources, output, progress=advance)
    left_out = report.skipped_by_kind()
    reasons = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common()) or "nothing"
    click.echo(f"{output}: {report.count('real')} real and {report.count('fake')} fake pictures; left out: {reasons}")
    if report.unchanged:
        click.echo("It held exactly these already; nothing was changed.")
    elif left_out:
        click.echo(f"What was left out stands in {output / 'skipped.csv'}.")
    return _FAILED_FILES if left_out["unreadable"] else 0


@click.command()
@click.argument("dataset", type=_FOLDER)
def audit(dataset: Path) -> None:
    """Say how much of the labels in a raw or merged DATASET, or in crops, can be guessed without looking at a face."""
    from .leaks import MIN_GROUPS, MIN_PICTURES, leak_table
    from .survey import survey

    with counter("measuring") as advance:
        leaks = survey(dataset, progress=advance).leaks
    if not leaks:
        raise DatasetError(
            f"{dataset} has too few readable pictures; wanted {MIN_PICTURES} real and {MIN_PICTURES} fake ones, each "
            f"of at least {MIN_GROUPS} groups"
        )
    click.echo(str(leak_table(leaks)))
    click.echo(
        "AUC .5: a linear look at size, file and light gives nothing of the label away; 1: all of it, and a network "
        "may learn that instead of the forgery.",
        err=True,
    )


@click.command()
@click.argument("dataset", type=_FOLDER)
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the crops.")
@click.option("--faces", type=click.Choice(["largest", "all"]), default="largest", show_default=True)
@click.option("--pre-cropped", is_flag=True, help="The pictures are face crops already; only resize them.")
@click.option(
    "--margin-ratio",
    type=NumberRange(1, 3),
    help="Side of the crop over that of the face box: what training shows.  [default: 1.5]",
)
@click.option(
    "--shown-ratio",
    type=NumberRange(1, 3),
    help="The same for the centre of the crop that the network scores.  [default: 1.3, at most the margin]",
)
@click.option("--size", "size_px", type=click.IntRange(32, 1024), default=224, help="Of the network's input.  [224]")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def crop(**options: Any) -> None:
    """Cut the faces out of a merged DATASET; can be stopped and run again."""
    cut_faces(None, **options)


def cut_faces(
    cut: Cut | None,
    dataset: Path,
    output: Path,
    faces: str,
    pre_cropped: bool,
    margin_ratio: float | None,
    shown_ratio: float | None,
    size_px: int,
    workers: int | None,
) -> None:
    """Do what the command crop does, where cut says; raises what crop.crop raises."""
    from ..edge.crops import MARGIN_RATIO, SHOWN_RATIO, CropSettings
    from .crop import crop as crop_faces

    if pre_cropped and (margin_ratio or shown_ratio):
        raise click.UsageError(
            "--margin-ratio and --shown-ratio say how faces are cut; with --pre-cropped they are not"
        )
    margin_ratio = margin_ratio or MARGIN_RATIO
    if shown_ratio and shown_ratio > margin_ratio:
        raise click.UsageError(f"--shown-ratio {shown_ratio:g} is more than the crop has: {margin_ratio:g}")
    settings = CropSettings(
        input_size_px=size_px,
        margin_ratio=margin_ratio,
        shown_ratio=shown_ratio or min(SHOWN_RATIO, margin_ratio),
        faces=faces,
        pre_cropped=pre_cropped,
    )
    with counter("cropping") as advance:
        records, skipped = crop_faces(dataset, output, settings, workers=workers, cut=cut, progress=advance)
    click.echo(f"{output}: {len(records)} face crops; {len(skipped)} pictures gave none")
    if skipped:
        click.echo(f"Which, and why, stands in {output / 'skipped.csv'}.")


@click.command()
@click.argument("crops", type=_FOLDER)
@click.option("--ratios", type=Ratios(), default="70/15/15", show_default=True, help="Of train, validation and test.")
@RESERVE
@click.option("--seed", type=SEED, default=0, show_default=True)
def split(crops: Path, ratios: tuple[float, ...], reserve: tuple[str, ...], seed: int) -> None:
    """Divide CROPS into training, validation and test sets."""
    from .split import split as split_crops

    with counter("comparing") as advance:
        report = split_crops(crops, ratios=ratios, reserve=reserve, seed=seed, progress=advance)
    for (source, label, part), count in sorted(report.counts().items()):
        click.echo(f"{source:24} {label:5} {part:11} {count:8}")
    click.echo(f"{report.near_duplicates} near-duplicates kept on one side; split sha256 {report.sha256[:16]}")


@click.command()
@click.argument("crops", type=_FOLDER)
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the run.")
@BACKBONE
@WEIGHTS
@click.option("--epochs", type=click.IntRange(1), help="[default: 12 to 30, more for small data sets]")
@click.option("--open-layers", type=click.IntRange(1), help="Train only its last layers, activations counted.  [all]")
@click.option(
    "--head-l2", type=NumberRange(0), default=0.0, show_default=True, help="L2 penalty on the head's weights."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Pictures a step, real and fake in pairs.",
)
@click.option("--learning-rate", type=NumberRange(0, min_open=True), default=1e-3, show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--self-blends",
    type=NumberRange(0, 1),
    default=0.25,
    show_default=True,
    help="Share of the fakes that are made on the fly, of a real face blended into itself.",
)
@click.option(
    "--leave-out",
    multiple=True,
    metavar="SOURCE",
    help="Train without this source, so that evaluate shows how the detector does on it; may be repeated.",
)
@click.option("--h5", is_flag=True, help="Also write the weights as model.weights.h5.")
def train(
    crops: Path,
    output: Path,
    backbone: str,
    weights: str | None,
    epochs: int | None,
    open_layers: int | None,
    head_l2: float,
    batch_size: int,
    learning_rate: float,
    seed: int,
    self_blends: float,
    leave_out: tuple[str, ...],
    h5: bool,
) -> None:
    """Train a detector on CROPS; goes on where it was when it is stopped and run again."""
    from .train import TrainSettings
    from .train import train as train_model

    check_start(backbone, weights)
    settings = TrainSettings(
        backbone=backbone,
        weights=weights,
        epochs=epochs,
        open_layers=open_layers,
        head_l2=head_l2,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        self_blend_share=self_blends,
        leave_out=leave_out,
    )
    with training_display() as callbacks:
        run = train_model(crops, output, settings, h5=h5, **callbacks)
    at = run.thresholds
    click.echo(
        f"{output}: AUC {run.validation_auc:.4f} of the {run.chosen_by} pictures; fake from {at.fake:.4g}, real up to "
        f"{at.real:.4g} ({at.chosen_at})"
    )
    if run.chosen_by == "validation":
        click.echo(
            "The thresholds come from validation pictures of the sources it was trained on; expect more errors on "
            "pictures from new sources."
        )
        if len({key.rsplit(" ", 2)[0] for key in run.pictures}) >= _RESERVE_FROM:
            click.echo(
                "To choose them by sources that it is not trained on, reserve some with both labels among them, and "
                f"train into another folder: facetell split {crops} --reserve SOURCE"
            )


@click.command()
@click.argument("run_folder", metavar="RUN", type=_FOLDER)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "reserved"]),
    help="[default: test, else validation]",
)
@click.option("--crops", type=_FOLDER, help="Other crops than the run's own.")
@click.option("-o", "--output", type=_FOLDER, help="Folder for the report.  [default: RUN/evaluation-SPLIT]")
@click.option(
    "--attributes",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV with the column sha256 and others, such as age: also measure the pictures of each age separately.",
)
def evaluate(
    run_folder: Path, split: str | None, crops: Path | None, output: Path | None, attributes: Path | None
) -> None:
    """Measure a finished RUN per source, on clean, re-saved, shrunken, tilted and turned pictures."""
    from .evaluate import PAGE, default_folder
    from .evaluate import evaluate as evaluate_run
    from .metrics import metrics_table

    report = evaluate_run(
        run_folder,
        output,
        crops=crops,
        split=split,
        attributes=attributes,
        progress=lambda name: click.echo(f"scoring {name} ...", err=True),
    )
    click.echo(str(metrics_table(report.titled())))
    if report.attributes:
        click.echo(f"\n{metrics_table(report.attributes, kind='attribute', of='value')}\n")
    click.echo(f"Report with pictures: {(output or default_folder(run_folder, report.split)) / PAGE}")


@click.command("left-out")
@click.argument("crops", type=_FOLDER)
@click.option(
    "--folds",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="CSV with the columns fold and source: which sources each fold leaves out.",
)
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the runs and the table.")
@BACKBONE
@WEIGHTS
@click.option("--epochs", type=click.IntRange(1), help="[default: 12 to 30, more for small data sets]")
@click.option("--seed", type=SEED, default=0, show_default=True)
def left_out(
    crops: Path, folds: Path, output: Path, backbone: str, weights: str | None, epochs: int | None, seed: int
) -> None:
    """Measure the recipe on sources it never saw: train without each fold's sources, then score these."""
    from ..edge.manifest import read_manifest
    from .left_out import TABLE, left_out_table, read_folds, summaries
    from .left_out import left_out as measure_left_out
    from .train import TrainSettings

    check_start(backbone, weights)
    named = read_folds(folds, read_manifest(crops))
    settings = TrainSettings(backbone=backbone, weights=weights, epochs=epochs, seed=seed)
    with training_display() as callbacks:
        rows = measure_left_out(
            crops,
            named,
            output,
            settings,
            progress=lambda fold, step: click.echo(f"{fold}: {step} ...", err=True),
            **callbacks,
        )
    click.echo(str(left_out_table(rows)))
    click.echo()
    click.echo(str(summaries(rows)))
    click.echo(f"Table: {output / TABLE}", err=True)
