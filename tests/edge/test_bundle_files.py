"""The files of a bundle are those of its manifest, byte for byte, and models, or the one to blame is named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facetell.edge.bundle import MANIFEST, load_bundle
from facetell.edge.detector import Detector
from facetell.edge.errors import ModelError

from ..pictures import zipped


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
def test_a_changed_file_is_named(
    pack: Callable[[Path], Path], name: str, change: Callable[[Path], object], reason: str, bundle_copy: Path
) -> None:
    change(bundle_copy / name)
    with pytest.raises(ModelError, match=reason) as refused:
        load_bundle(pack(bundle_copy))
    assert name in str(refused.value)


def test_a_folder_in_place_of_a_file_is_named(bundle_copy: Path) -> None:
    (bundle_copy / "int8.tflite").unlink()
    (bundle_copy / "int8.tflite").mkdir()
    with pytest.raises(ModelError, match=r"int8\.tflite"):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(("name", "mib"), [("int8.tflite", 64), ("model.json", 1)])
@pytest.mark.parametrize(
    "pack",
    [Path, lambda folder: zipped(folder, compression=zipfile.ZIP_DEFLATED)],
    ids=["folder", "zip"],
)
def test_a_file_of_absurd_size_is_not_read(
    pack: Callable[[Path], Path], name: str, mib: int, bundle_copy: Path
) -> None:
    with (bundle_copy / name).open("ab") as file:
        file.write(b" " * mib * 2**20)
    with pytest.raises(ModelError, match=rf"{name} is larger than {mib} MiB"):
        load_bundle(pack(bundle_copy))


ENDLESS = {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero")} if os.name == "posix" else {}


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("name", ["", "model.json", "int8.tflite"])
def test_what_never_ends_is_not_waited_for(name: str, make: Callable[[Path], None], bundle_copy: Path) -> None:
    path = bundle_copy / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom resource import RLIMIT_AS, setrlimit\n"
        "from facetell.edge.bundle import load_bundle\nfrom facetell.edge.errors import ModelError\n"
        "setrlimit(RLIMIT_AS, (2**31, 2**31))\n"
        "try: load_bundle(Path(sys.argv[1]))\nexcept ModelError as error: sys.exit(f'refused: {error}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, bundle_copy], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.startswith("refused: ")
    assert str(bundle_copy) in done.stderr
    assert name in done.stderr


def with_file(folder: Path, name: str, content: bytes) -> None:
    """Put other content into a file of the bundle, with the hash that belongs to it."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    entry = next(entry for entry in [manifest["face"], *manifest["files"].values()] if entry["file"] == name)
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / name).write_bytes(content)


NO_MODELS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda model: b"",
    "text": lambda model: b"this is no model" * 100,
    "zeros": lambda model: bytes(1000),
    "header only": lambda model: model[:8],
}


@pytest.mark.parametrize("content", NO_MODELS.values(), ids=NO_MODELS)
@pytest.mark.parametrize("name", ["float32.tflite", "face_detector.tflite"])
def test_a_file_that_is_no_model_is_refused_not_run(
    name: str, content: Callable[[bytes], bytes], bundle_copy: Path
) -> None:
    with_file(bundle_copy, name, content((bundle_copy / name).read_bytes()))
    code = (
        "import sys\nfrom pathlib import Path\nfrom facetell.edge.bundle import load_bundle\n"
        "from facetell.edge.detector import Detector\nfrom facetell.edge.errors import ModelError\n"
        "try: Detector(load_bundle(Path(sys.argv[1])))\nexcept ModelError as error: sys.exit(f'refused: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", code, bundle_copy], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "refused: " in done.stderr


@pytest.mark.parametrize(
    ("name", "other"), [("float32.tflite", "face_detector.tflite"), ("face_detector.tflite", "float32.tflite")]
)
def test_a_model_of_another_kind_is_refused(name: str, other: str, bundle_copy: Path) -> None:
    with_file(bundle_copy, name, (bundle_copy / other).read_bytes())
    with pytest.raises(ModelError):
        Detector(load_bundle(bundle_copy))
