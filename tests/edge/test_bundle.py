"""A bundle is a folder or a zip that holds what its manifest says; another path, or a damaged zip, is refused."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facetell.edge.bundle import MANIFEST, Bundle, load_bundle
from facetell.edge.calibration import Calibration
from facetell.edge.errors import ModelError

from ..pictures import zipped


@pytest.mark.parametrize(
    "pack",
    [
        Path,
        zipped,
        lambda folder: zipped(folder, "bundle/"),
        lambda folder: zipped(folder, compression=zipfile.ZIP_DEFLATED),
    ],
    ids=["folder", "zip", "zip with a folder", "compressed zip"],
)
def test_a_bundle_is_loaded_from(pack: Callable[[Path], Path], bundle_copy: Path, manifest: dict[str, Any]) -> None:
    bundle = load_bundle(pack(bundle_copy))
    assert bundle.identity == f"{manifest['name']} {manifest['version']}"
    assert bundle.input_size_px == manifest["input"]["size"]
    assert bundle.face_detector == (bundle_copy / manifest["face"]["file"]).read_bytes()
    assert bundle.margin_ratio == manifest["face"]["margin_ratio"]
    assert bundle.min_face_px == manifest["face"]["min_face_px"]
    assert bundle.thresholds.fake == manifest["thresholds"]["fake"]
    assert list(bundle.classifiers) == list(manifest["files"])
    for precision, entry in manifest["files"].items():
        classifier = bundle.classifiers[precision]
        assert classifier.content == (bundle_copy / entry["file"]).read_bytes()
        assert classifier.size_bytes == len(classifier.content)
        assert classifier.calibration.temperature == entry["temperature"]


def test_the_shipped_files_have_their_calibration_inside(bundle: Bundle) -> None:
    """So that an app which knows nothing of temperature and bias gets p_fake."""
    assert {classifier.calibration for classifier in bundle.classifiers.values()} == {Calibration()}


def test_the_shipped_thresholds_are_in_order(bundle: Bundle) -> None:
    assert 0 < bundle.thresholds.real <= 0.5 <= bundle.thresholds.fake < 1


@pytest.mark.parametrize(
    ("kept", "asked", "given"),
    [
        (("float32", "int8"), None, "float32"),
        (("float32", "int8"), "int8", "int8"),
        (("int8",), None, "int8"),
        (("float32",), "int8", None),
        (("int8",), "float32", None),
    ],
)
def test_precision(
    kept: tuple[str, ...], asked: str | None, given: str | None, bundle_copy: Path, manifest: dict[str, Any]
) -> None:
    files = {name: manifest["files"][name] for name in kept}
    (bundle_copy / MANIFEST).write_text(json.dumps(manifest | {"files": files}))
    bundle = load_bundle(bundle_copy)
    if given:
        assert bundle.classifier(asked).precision == given
    else:
        with pytest.raises(ModelError, match=f"no {asked} file; it has: {kept[0]}"):
            bundle.classifier(asked)


def test_what_else_lies_in_the_folder_does_not_matter(bundle_copy: Path) -> None:
    (bundle_copy / "notes.txt").write_text("mine")
    (bundle_copy / "MODEL_CARD.md").unlink()
    assert load_bundle(bundle_copy).classifiers


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty", "is not a bundle"),
        ("text.zip", "is not a bundle"),
        ("text.zip/below", "there is no model"),
        ("missing", "there is no model"),
        ("a" * 300, "model"),
        ("empty.zip", "is not a bundle"),
        ("other.zip", "is not a bundle"),
        ("two.zip", "2 files model.json"),
    ],
)
def test_a_path_that_is_no_bundle_is_named(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("a text")
    for archive, members in {"empty": [], "other": ["readme"], "two": ["a/model.json", "b/model.json"]}.items():
        with zipfile.ZipFile(tmp_path / f"{archive}.zip", "w") as file:
            for member in members:
                file.writestr(member, "{}")
    with pytest.raises(ModelError, match=reason) as refused:
        load_bundle(tmp_path / name)
    assert name in str(refused.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def overwritten(path: Path, from_start: float = 0.5) -> None:
    """Spoil the compressed bytes of float32.tflite, not the zip's own tables."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("float32.tflite")
    with path.open("r+b") as file:
        file.seek(info.header_offset + 30 + len(info.filename) + int(info.compress_size * from_start))
        file.write(b"\xff" * 1000)


def overwritten_at_the_start(path: Path) -> None:
    overwritten(path, 0)


def locked(path: Path) -> None:
    """Set the bit that says that members are encrypted."""
    content = bytearray(path.read_bytes())
    for start, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        at = content.find(start)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(start, at + 1)
    path.write_bytes(content)


def longer_than_the_file(path: Path) -> None:
    """Let the table say that the manifest is stored as it is and reaches past the file's end."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"model.json") - 46
    content[at + 10 : at + 12] = (0).to_bytes(2, "little")
    content[at + 20 : at + 28] = (2**24).to_bytes(4, "little") * 2
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [cut, overwritten, overwritten_at_the_start, locked, longer_than_the_file])
def test_a_damaged_zip_is_refused(spoil: Callable[[Path], None], bundle_copy: Path) -> None:
    path = zipped(bundle_copy, compression=zipfile.ZIP_DEFLATED)
    spoil(path)
    with pytest.raises(ModelError, match=path.name):
        load_bundle(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_claims_less_than_it_holds_does_not_fill_the_memory(compression: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model.json", bytes(32 * 2**20))
    content = bytearray(path.read_bytes())
    size = content.rindex(b"PK\1\2") + 24
    content[size : size + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"bomb\.zip"):
            load_bundle(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
