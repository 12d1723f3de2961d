"""The command line of convert: export and verify."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

_FOLDER = click.Path(path_type=Path)
_FAILED_FILES = 3

_pythons = click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="COMMAND",
    help="Measure with this Python too, which has facetell: another environment's, or one elsewhere. May be repeated.",
)


@click.command()
@click.argument("run_folder", metavar="[RUN]", required=False, type=_FOLDER)
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the bundle; must be new.")
@click.option("--crops", type=_FOLDER, help="Face crops, where the run's were moved, or for --keras.")
@click.option("--keras", "keras_file", type=_FOLDER, help="Instead of a RUN: a .keras or .h5 file trained elsewhere.")
@click.option(
    "--range",
    "pixel_range",
    type=click.Choice(["0..255", "0..1", "-1..1"]),
    help="What the --keras model wants of pixels.  [default: 0..255]",
)
@click.option("--positive", type=click.Choice(["fake", "real"]), help="What class 1 of the --keras model is.")
@click.option("--trust", is_flag=True, help="Load an .h5 file, which may run code of whoever made it.")
@click.option("--name", help="Of the model.  [default: the name of the run's folder or the file]")
@click.option("--license", "license_", help="Of the model, in a few words.")
@click.option(
    "--data-notes", type=click.Path(exists=True, path_type=Path), help="Markdown on the training data, for the card."
)
@click.option(
    "--sources",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the columns source, kind and terms: what the card says of each source of pictures.",
)
@click.option("--sign", "private_key", type=_FOLDER, help="Sign the bundle with this private key (PEM).")
@_pythons
def export(
    run_folder: Path | None,
    output: Path,
    crops: Path | None,
    keras_file: Path | None,
    pixel_range: str | None,
    positive: str | None,
    trust: bool,
    name: str | None,
    license_: str | None,
    data_notes: Path | None,
    sources: Path | None,
    private_key: Path | None,
    pythons: tuple[str, ...],
) -> int:
    """Turn a finished RUN into a bundle: float32, float16 and int8 .tflite, calibrated, with its model card.

    A file that does not say what Keras says is left out, and the exit status is then 3.
    """
    if (run_folder is None) == (keras_file is None):
        raise click.UsageError("name a RUN, or a model trained elsewhere with --keras; one of them")
    if run_folder and (pixel_range or positive or trust):
        raise click.UsageError("--range, --positive and --trust are for --keras; a RUN knows what its model wants")
    try:
        notes = data_notes.read_text(encoding="utf-8") if data_notes else None
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{data_notes} is no text in UTF-8: {error}") from error
    from ..edge.signature import load_signer, sign
    from .card import CardSettings, read_sources
    from .export import export as export_bundle
    from .export import from_keras, from_run
    from .verify import comparison_table

    if private_key:
        load_signer(private_key)  # a wrong key is told now, not after the work
    given: dict[str, Any] = {"license": license_, "data_notes": notes, "sources": sources and read_sources(sources)}
    default_name = keras_file.stem if keras_file else run_folder.resolve().name if run_folder else ""
    settings = CardSettings(name or default_name, **{k: v for k, v in given.items() if v})
    if run_folder:
        subject = from_run(run_folder, crops)
    elif keras_file and crops and positive:
        subject = from_keras(keras_file, crops, pixel_range=pixel_range or "0..255", positive=positive, trust=trust)
    else:
        raise click.UsageError("--keras wants --crops, to measure it on, and --positive, to know what its class 1 is")
    comparisons = export_bundle(subject, output, settings, pythons=_commands(pythons), progress=_say)
    if private_key:
        sign(output, private_key)
    click.echo(str(comparison_table(comparisons)))
    click.echo(f"Written to {output}: {', '.join(sorted({c.file for c in comparisons} - {'keras'}))}.", err=True)
    missing = {"float16", "int8"} - {comparison.file for comparison in comparisons}
    for precision in sorted(missing):
        click.echo(f"No {precision} file: it was left out, as said above.", err=True)
    return _FAILED_FILES if missing else 0


@click.command()
@click.argument("bundle", type=_FOLDER)
@click.argument("crops", type=_FOLDER)
@click.option("--run", "run_folder", type=_FOLDER, help="Run with the Keras model.  [default: the folder BUNDLE is in]")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["float32", "float16", "int8"]),
    multiple=True,
    help="Only this file of BUNDLE; may be repeated.",
)
@click.option("--split", default="validation", show_default=True, help="Which crops are scored.")
@click.option("--sample", type=click.IntRange(1), help="Score about so many, balanced over sources and labels.")
@click.option("-o", "--output", type=_FOLDER, help="Folder for table, scores and plot.  [default: in the run's]")
@click.option("--card", is_flag=True, help="Put the table into BUNDLE's model card, too.")
@click.option("--strict", is_flag=True, help="Exit with status 1 when a file is not as good as Keras.")
@_pythons
def verify(
    bundle: Path,
    crops: Path,
    run_folder: Path | None,
    precisions: tuple[str, ...],
    split: str,
    sample: int | None,
    output: Path | None,
    card: bool,
    strict: bool,
    pythons: tuple[str, ...],
) -> int:
    """Score the same CROPS with Keras and with every file of BUNDLE on every runtime, and show the differences."""
    from .verify import comparison_table
    from .verify import verify as verify_bundle

    comparisons = verify_bundle(
        bundle,
        crops,
        run_folder=run_folder,
        precisions=precisions,
        split=split,
        sample=sample,
        output=output,
        pythons=_commands(pythons),
        card=card,
        progress=_say,
    )
    click.echo(str(comparison_table(comparisons)))
    failed = [comparison for comparison in comparisons if not comparison.holds]
    for comparison in failed:
        click.echo(f"{comparison.file} is not as good as the reference: {comparison.in_words()}", err=True)
    return int(strict and bool(failed))


def _commands(pythons: tuple[str, ...]) -> list[tuple[str, ...]]:
    from .verify import HERE

    return [HERE, *(tuple(shlex.split(python)) for python in pythons)]


def _say(step: str) -> None:
    click.echo(f"{step} ...", err=True)
