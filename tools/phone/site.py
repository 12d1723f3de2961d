"""The phone page with a bundle, ready for any web space."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from ...edge.bundle import EXPLAIN, FACE_DETECTOR, Bundle
from ...edge.errors import SourceError
from ...edge.files import new_folder, replacing

SITE = Path(__file__).parent / "site"
"""What make phone builds of the page: scripts, icons and LiteRT.js."""

_STATIC = Path(__file__).parent / "app" / "static"

_LIST = "files.js"
_LISTED = re.compile(r'const VERSION = "\w+";\nconst FILES = (\[.*\]);\n')

_CARD_PAGE = "card.html"
_CLASSIFIER = "float32.tflite"
_CARD_PLACE = "<!-- card -->"

_SAMPLES = Path(__file__).parent.parent.parent / "samples"
_SAMPLE_OF = {
    "real.jpg": "real_astronaut.jpg",
    "fake.jpg": "fake_hopper_with_astronauts_face.jpg",
    "two.jpg": "two_faces.jpg",
}


def write_site(bundle: Bundle, output: Path) -> int:
    """Write the page with a bundle's files into a folder and return its size in bytes.

    In a folder that it wrote before, what is not the page's is left alone. Raises SourceError when the folder cannot be
    written or is another's, and ModelError when the bundle has no float32.
    """
    files = site_files(bundle)
    if (output / _LIST).is_file():
        _refresh(output, files)
    elif output.is_dir() and any(output.iterdir()):
        raise _others(output)
    else:
        with new_folder(output) as folder:
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    return sum(map(len, files.values()))


def _refresh(output: Path, files: dict[str, bytes]) -> None:
    """Put these files, each whole, over those of an earlier page, whose others go."""
    found = _LISTED.fullmatch((output / _LIST).read_bytes().decode(errors="replace"))
    if not found:
        raise _others(output)
    last = ("index.html", "sw.js", _LIST)  # so that a browser takes the new page when all of it is there
    for name in sorted(files, key=lambda name: last.index(name) if name in last else -1):
        with replacing(output / name) as partial:
            partial.write_bytes(files[name])
    for name in set(json.loads(found[1])) - {"./", *files}:
        if (path := (output / name).resolve()).is_relative_to(output.resolve()):
            path.unlink(missing_ok=True)


def _others(output: Path) -> SourceError:
    return SourceError(f"{output} holds something else than a phone page; choose another folder with -o")


def site_files(bundle: Bundle) -> dict[str, bytes]:
    """Return the content of every file of the page by its path; raises ModelError for a bundle without float32."""
    classifier = bundle.classifier("float32")
    files: dict[str, bytes] = {}
    for folder in (_STATIC, SITE):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name, content = path.relative_to(folder).as_posix(), path.read_bytes()
            files[name.removesuffix(".gz")] = gzip.decompress(content) if name.endswith(".gz") else content
    files |= {f"samples/{name}": (_SAMPLES / sample).read_bytes() for name, sample in _SAMPLE_OF.items()}
    files[_CARD_PAGE] = files[_CARD_PAGE].replace(_CARD_PLACE.encode(), _as_html(bundle.card).encode())
    files["bundle/model.json"] = json.dumps(_manifest(bundle), indent=2).encode()
    files[f"bundle/{_CLASSIFIER}"] = classifier.content
    if not bundle.pre_cropped:
        files[f"bundle/{FACE_DETECTOR}"] = bundle.face_detector
    if bundle.explainer is not None:
        files[f"bundle/{EXPLAIN}"] = bundle.explainer
    listed = ["./", *(name for name in files if name not in ("index.html", "sw.js"))]
    version = hashlib.sha256(b"".join(name.encode() + b"\0" + files[name] for name in sorted(files))).hexdigest()[:16]
    files[_LIST] = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(listed)};\n".encode()
    return files


def packed_files() -> dict[str, bytes]:
    """Return those of the page's files that ship packed by gzip, as they are, by their path in the page."""
    return {path.relative_to(SITE).as_posix().removesuffix(".gz"): path.read_bytes() for path in SITE.rglob("*.gz")}


def _manifest(bundle: Bundle) -> dict[str, Any]:
    """Return what the page needs of a bundle's model.json, in the same words."""
    manifest: dict[str, Any] = {
        "name": bundle.name,
        "version": bundle.version,
        "license": bundle.license,
        "input": {"size": bundle.input_size_px},
        "face": {
            "file": FACE_DETECTOR,
            "min_face_px": bundle.min_face_px,
            "margin_ratio": bundle.margin_ratio,
            "shown_ratio": bundle.shown_ratio,
            "pre_cropped": bundle.pre_cropped,
        },
        "files": {"float32": {"file": _CLASSIFIER} | asdict(bundle.classifier("float32").calibration)},
        "thresholds": {"real": bundle.thresholds.real, "fake": bundle.thresholds.fake},
    }
    return manifest | ({"explain": {"file": EXPLAIN}} if bundle.explainer is not None else {})


def _as_html(card: str) -> str:
    """Return a model card's Markdown, without its front matter, as HTML; HTML in it is shown as text."""
    text = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(text or "This model came without a card.")
