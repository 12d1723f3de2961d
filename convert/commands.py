"""The command line of convert: export and verify."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("run_folder", metavar="RUN", type=_FOLDER)
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the bundle; must be new.")
@click.option("--crops", type=_FOLDER, help="Where the run's crops are now, if they were moved.")
@click.option("--name", help="Of the model.  [default: the run folder's name]")
@click.option("--license", "license_", help="Of the model, in a few words.")
@click.option(
    "--data-notes", type=click.Path(exists=True, path_type=Path), help="Markdown on the training data, for the card."
)
def export(
    run_folder: Path,
    output: Path,
    crops: Path | None,
    name: str | None,
    license_: str | None,
    data_notes: Path | None,
) -> None:
    """Turn a finished RUN into a bundle: float32 and int8 .tflite, calibrated, with its model card."""
    try:
        notes = data_notes.read_text(encoding="utf-8") if data_notes else None
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{data_notes} is no text in UTF-8: {error}") from error
    from .export import ExportSettings
    from .export import export as export_bundle
    from .verify import comparison_table

    given = {"license": license_, "data_notes": notes}
    settings = ExportSettings(name or run_folder.resolve().name, **{k: v for k, v in given.items() if v})
    comparisons = export_bundle(run_folder, output, settings, crops=crops, progress=_say)
    click.echo("\n".join(comparison_table(comparisons)))


@click.command()
@click.argument("bundle", type=_FOLDER)
@click.argument("crops", type=_FOLDER)
@click.option("--run", "run_folder", type=_FOLDER, help="Run with the Keras model.  [default: the folder BUNDLE is in]")
@click.option("--split", default="validation", show_default=True, help="Which crops are scored.")
def verify(bundle: Path, crops: Path, run_folder: Path | None, split: str) -> None:
    """Score the same CROPS with Keras and with every file of BUNDLE, and show the differences."""
    from .verify import comparison_table
    from .verify import verify as verify_bundle

    click.echo(
        "\n".join(comparison_table(verify_bundle(bundle, crops, run_folder=run_folder, split=split, progress=_say)))
    )


def _say(step: str) -> None:
    click.echo(f"{step} ...", err=True)
