"""The command line of the phone page: phone."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("bundle", required=False, type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, help="Folder for the page; an earlier page is renewed.")
def phone(bundle: Path | None, output: Path) -> None:
    """Write a page that looks at faces in any browser, with BUNDLE or the model shipped; nothing leaves the device."""
    from ...edge.bundle import DEFAULT_BUNDLE, load_bundle
    from .site import write_site

    size_bytes = write_site(load_bundle(bundle or DEFAULT_BUNDLE), output)
    click.echo(f"{output}: {size_bytes / 1e6:.1f} MB. Put it on any web space; to try it: ", nl=False)
    click.echo(f"python -m http.server -d {output} 8000, then http://localhost:8000/")
