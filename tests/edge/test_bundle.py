"""A bundle is what its manifest says, byte for byte, or it is refused with a word on which file is to blame."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facetell.edge.bundle import DEFAULT_BUNDLE, Bundle, load_bundle
from facetell.edge.calibration import Calibration
from facetell.edge.detector import Detector
from facetell.edge.errors import ModelError

Manifest = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped bundle, to be spoilt."""
    return shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return json.loads((DEFAULT_BUNDLE / "model.json").read_text())


def zipped(folder: Path, prefix: str = "", compression: int = zipfile.ZIP_STORED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
    return path


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / "model.json").write_text(json.dumps(manifest))


def with_file(folder: Path, name: str, content: bytes) -> None:
    """Put other content into a file of the bundle, with the hash that belongs to it."""
    manifest = json.loads((folder / "model.json").read_text())
    entry = next(entry for entry in [manifest["face"], *manifest["files"].values()] if entry["file"] == name)
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    write_manifest(folder, manifest)
    (folder / name).write_bytes(content)


# What is loaded


@pytest.mark.parametrize(
    "packed",
    [
        lambda folder: folder,
        zipped,
        lambda folder: zipped(folder, "bundle/"),
        lambda folder: zipped(folder, compression=zipfile.ZIP_DEFLATED),
    ],
    ids=["folder", "zip", "zip with a folder", "compressed zip"],
)
def test_a_bundle_is_loaded_from(packed: Callable[[Path], Path], folder: Path, manifest: Manifest) -> None:
    bundle = load_bundle(packed(folder))
    assert bundle.identity == f"{manifest['name']} {manifest['version']}"
    assert bundle.input_size_px == manifest["input"]["size"]
    assert bundle.face_detector == (folder / manifest["face"]["file"]).read_bytes()
    assert bundle.margin_ratio == manifest["face"]["margin_ratio"]
    assert bundle.thresholds.fake == manifest["thresholds"]["fake"]
    assert list(bundle.classifiers) == list(manifest["files"])
    for precision, entry in manifest["files"].items():
        classifier = bundle.classifiers[precision]
        assert classifier.content == (folder / entry["file"]).read_bytes()
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
    kept: tuple[str, ...], asked: str | None, given: str | None, folder: Path, manifest: Manifest
) -> None:
    write_manifest(folder, manifest | {"files": {name: manifest["files"][name] for name in kept}})
    bundle = load_bundle(folder)
    if given:
        assert bundle.classifier(asked).precision == given
    else:
        with pytest.raises(ModelError, match=f"no {asked} file; it has: {kept[0]}"):
            bundle.classifier(asked)


def test_what_else_lies_in_the_folder_does_not_matter(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "MODEL_CARD.md").unlink()
    assert load_bundle(folder).classifiers


# Files that are not those of the manifest


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed, "differs from its manifest"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "differs from its manifest"),
        (lambda path: path.write_bytes(b""), "differs from its manifest"),
        (lambda path: path.unlink(), "lacks"),
    ],
    ids=["one bit", "cut", "empty", "missing"],
)
@pytest.mark.parametrize("name", ["float32.tflite", "int8.tflite", "face_detector.tflite"])
@pytest.mark.parametrize("packed", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_changed_file_is_named(packed, name: str, change, reason: str, folder: Path) -> None:
    change(folder / name)
    with pytest.raises(ModelError, match=reason) as refused:
        load_bundle(packed(folder))
    assert name in str(refused.value)


def test_a_folder_in_place_of_a_file_is_named(folder: Path) -> None:
    (folder / "int8.tflite").unlink()
    (folder / "int8.tflite").mkdir()
    with pytest.raises(ModelError, match=r"int8\.tflite"):
        load_bundle(folder)


@pytest.mark.parametrize(("name", "mib"), [("int8.tflite", 64), ("model.json", 1)])
@pytest.mark.parametrize(
    "packed",
    [lambda folder: folder, lambda folder: zipped(folder, compression=zipfile.ZIP_DEFLATED)],
    ids=["folder", "zip"],
)
def test_a_file_of_absurd_size_is_not_read(packed, name: str, mib: int, folder: Path) -> None:
    with (folder / name).open("ab") as file:
        file.write(b" " * mib * 2**20)
    with pytest.raises(ModelError, match=rf"{name} is larger than {mib} MiB"):
        load_bundle(packed(folder))


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


ENDLESS = {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero")} if os.name == "posix" else {}


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("name", ["", "model.json", "int8.tflite"])
def test_what_never_ends_is_not_waited_for(name: str, make: Callable[[Path], None], folder: Path) -> None:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom resource import RLIMIT_AS, setrlimit\n"
        "from facetell.edge.bundle import load_bundle\nfrom facetell.edge.errors import ModelError\n"
        "setrlimit(RLIMIT_AS, (2**31, 2**31))\n"
        "try: load_bundle(Path(sys.argv[1]))\nexcept ModelError as error: sys.exit(f'refused: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.startswith("refused: ")
    assert str(folder) in done.stderr
    assert name in done.stderr


# Manifests that are not

DELETED = object()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *(
            ((key,), DELETED)
            for key in ("format", "name", "version", "backbone", "input", "face", "files", "thresholds")
        ),
        *(((key,), 5) for key in ("input", "face", "files", "thresholds")),
        *(((key,), None) for key in ("input", "face", "files", "thresholds")),
        (("format",), 2),
        (("format",), "1"),
        (("files",), {}),
        (("files",), []),
        (("files",), {"float64": {}}),
        (("files", "float32"), None),
        (("files", "float32"), "float32.tflite"),
        *((("files", "float32", key), DELETED) for key in ("file", "sha256", "size_bytes", "temperature", "bias")),
        (("files", "float32", "file"), 5),
        (("files", "float32", "file"), ["float32.tflite"]),
        (("files", "float32", "file"), "float32.tflite\0"),
        (("files", "float32", "sha256"), 5),
        (("files", "float32", "sha256"), None),
        (("files", "float32", "sha256"), ""),
        (("files", "float32", "size_bytes"), "many"),
        (("files", "float32", "temperature"), "hot"),
        (("files", "float32", "temperature"), None),
        (("files", "float32", "bias"), [0]),
        (("face", "file"), DELETED),
        (("face", "sha256"), 5),
        (("face", "min_score"), "low"),
        (("face", "margin_ratio"), {}),
        (("input", "size"), "large"),
        (("input", "size"), None),
        (("thresholds",), {}),
        (("thresholds", "fake"), DELETED),
        (("thresholds", "median"), 0.5),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "deleted" if value is DELETED else repr(value),
)
def test_a_manifest_of_another_shape_is_refused(keys, value, folder: Path, manifest: Manifest) -> None:
    refuse_changed(keys, value, folder, manifest)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("thresholds", "real"), "low"),
        (("thresholds", "fake"), None),
        (("thresholds", "fake"), float("nan")),
        (("files", "float32", "temperature"), 0),
        (("files", "float32", "temperature"), -1),
        (("files", "float32", "temperature"), float("nan")),
        (("files", "float32", "bias"), float("inf")),
        (("face", "margin_ratio"), 0),
        (("face", "margin_ratio"), float("nan")),
        (("input", "size"), 0),
        *((("files", "float32", "size_bytes"), float(size)) for size in ("inf", "nan", "-1")),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else repr(value),
)
def test_a_manifest_with_values_that_cannot_be_is_refused(keys, value, folder: Path, manifest: Manifest) -> None:
    refuse_changed(keys, value, folder, manifest)


def refuse_changed(keys: tuple[str, ...], value: object, folder: Path, manifest: Manifest) -> None:
    other = copy.deepcopy(manifest)
    place = other
    for key in keys[:-1]:
        place = place[key]
    if value is DELETED:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    write_manifest(folder, other)
    with pytest.raises(ModelError, match="bundle"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "name",
    ["../secret.tflite", "..", ".", "", "/etc/passwd", "sub/float32.tflite", "./float32.tflite", "float32.tflite/"],
)
@pytest.mark.parametrize("entry", ["classifier", "face detector"])
@pytest.mark.parametrize("packed", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_no_file_outside_the_bundle_is_read(packed, entry: str, name: str, folder: Path, manifest: Manifest) -> None:
    content = (folder / "float32.tflite").read_bytes()
    (folder.parent / "secret.tflite").write_bytes(content)
    other = copy.deepcopy(manifest)
    place = other["face"] if entry == "face detector" else other["files"]["float32"]
    place |= {"file": name, "sha256": hashlib.sha256(content).hexdigest()}
    write_manifest(folder, other)
    with pytest.raises(ModelError):
        load_bundle(packed(folder))


@pytest.mark.parametrize(
    "content",
    [b"", b"format: 1", b"{", b"null", b"[]", b"5", b'"text"', b"\xff\xfe\xfd", b"[" * 100_000],
    ids=["empty", "yaml", "cut", "null", "list", "number", "string", "bytes", "deep"],
)
@pytest.mark.parametrize("packed", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_manifest_that_is_none_is_named(packed, content: bytes, folder: Path) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json"):
        load_bundle(packed(folder))


# Paths that are no bundle


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
def test_a_damaged_zip_is_refused(spoil: Callable[[Path], None], folder: Path) -> None:
    path = zipped(folder, compression=zipfile.ZIP_DEFLATED)
    spoil(path)
    with pytest.raises(ModelError, match=path.name):
        load_bundle(path)


# Files with the right hash that are no models

NO_MODELS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda model: b"",
    "text": lambda model: b"this is no model" * 100,
    "zeros": lambda model: bytes(1000),
    "header only": lambda model: model[:8],
}


@pytest.mark.parametrize("content", NO_MODELS.values(), ids=NO_MODELS)
@pytest.mark.parametrize("name", ["float32.tflite", "face_detector.tflite"])
def test_a_file_that_is_no_model_is_refused_not_run(name: str, content: Callable[[bytes], bytes], folder: Path) -> None:
    with_file(folder, name, content((folder / name).read_bytes()))
    code = (
        "import sys\nfrom pathlib import Path\nfrom facetell.edge.bundle import load_bundle\n"
        "from facetell.edge.detector import Detector\nfrom facetell.edge.errors import ModelError\n"
        "try: Detector(load_bundle(Path(sys.argv[1])))\nexcept ModelError as error: sys.exit(f'refused: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "refused: " in done.stderr


@pytest.mark.parametrize(
    ("name", "other"), [("float32.tflite", "face_detector.tflite"), ("face_detector.tflite", "float32.tflite")]
)
def test_a_model_of_another_kind_is_refused(name: str, other: str, folder: Path) -> None:
    with_file(folder, name, (folder / other).read_bytes())
    with pytest.raises(ModelError):
        Detector(load_bundle(folder))
