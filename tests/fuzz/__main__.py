"""Coverage-guided fuzzing, with atheris, of whatever reads the files of strangers: make fuzz.

python -m tests.fuzz TARGET FOLDER [libFuzzer's options]: FOLDER is begun with sound files and keeps what came further.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["facetell", "PIL"]):
    from facetell.edge.bundle import DEFAULT_BUNDLE, MANIFEST, load_bundle
    from facetell.edge.errors import DatasetError, ImageError, ModelError, SourceError
    from facetell.edge.images import REDUCTIONS, Picture
    from facetell.edge.manifest import read_manifest
    from facetell.edge.results import finished
    from facetell.edge.runtime import silent_stderr

from ..edge.test_fuzz import FORMATS, encoded

WORK = Path(tempfile.mkdtemp(prefix="facetell-fuzz-"))
BUNDLE = WORK / "bundle"


def picture(content: bytes) -> None:
    """The last byte says how much smaller a picture is decoded."""
    with suppress(ImageError), silent_stderr():
        pixels = Picture(content[:-1], max_megapixels=1).decode(REDUCTIONS[content[-1] % 4] if content else 1)
        assert pixels.ndim == 3
        assert pixels.size <= 3e6


def bundle(content: bytes) -> None:
    """The manifest of a bundle whose other files are sound."""
    (BUNDLE / MANIFEST).write_bytes(content)
    with suppress(ModelError):
        load_bundle(BUNDLE)


def zipped(content: bytes) -> None:
    """A bundle as a zip."""
    (WORK / "bundle.zip").write_bytes(content)
    with suppress(ModelError):
        load_bundle(WORK / "bundle.zip")


def empty_bundle() -> bytes:
    """Return a zip with the manifest of a bundle and nothing that it names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MANIFEST, "{}")
    return file.getvalue()


def results(content: bytes) -> None:
    """A file of results that a scan is to go on with."""
    (WORK / "rows.jsonl").write_bytes(content)
    with suppress(SourceError):
        finished(WORK / "rows.jsonl", {"model": "a", "rule": "b", "fps": 5.0})


def manifest(content: bytes) -> None:
    """The manifest of a folder of pictures."""
    (WORK / "manifest.csv").write_bytes(content)
    with suppress(DatasetError):
        read_manifest(WORK)


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "picture": (picture, [encoded(name) + b"\0" for name in FORMATS]),
    "bundle": (bundle, [(DEFAULT_BUNDLE / MANIFEST).read_bytes()]),
    "zip": (zipped, [empty_bundle()]),
    "results": (results, [b'{"path": "x", "model": "a", "rule": "b", "fps": 5.0}\n']),
    "manifest": (manifest, [b"path,label,source\na.jpg,real,x\n"]),
}


def main() -> None:
    """Fuzz one target until libFuzzer's options end it; a crash ends it with an exit status that is not 0."""
    target, folder = sys.argv[1], Path(sys.argv[2])
    shutil.copytree(DEFAULT_BUNDLE, BUNDLE)
    one_input, seeds = TARGETS[target]
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(content)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], one_input)
    atheris.Fuzz()


main()
