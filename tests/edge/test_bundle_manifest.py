"""A manifest of another shape, with values that cannot be, or of files elsewhere is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facetell.edge.bundle import MANIFEST, load_bundle
from facetell.edge.errors import ModelError

DELETED = object()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        # another shape
        *(
            ((key,), DELETED)
            for key in ("format", "name", "version", "backbone", "input", "face", "files", "thresholds")
        ),
        *(((key,), 5) for key in ("input", "face", "files", "thresholds")),
        *(((key,), None) for key in ("input", "face", "files", "thresholds")),
        (("format",), 5),
        (("format",), "4"),
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
        (("face", "min_face_px"), DELETED),
        (("face", "min_face_px"), "small"),
        (("face", "min_face_px"), 0),
        (("face", "margin_ratio"), {}),
        (("face", "shown_ratio"), DELETED),
        (("input", "size"), "large"),
        (("input", "size"), None),
        (("thresholds",), {}),
        (("thresholds", "fake"), DELETED),
        (("thresholds", "median"), 0.5),
        # values that cannot be
        (("thresholds", "real"), "low"),
        (("thresholds", "fake"), None),
        (("thresholds", "fake"), float("nan")),
        (("files", "float32", "temperature"), 0),
        (("files", "float32", "temperature"), -1),
        (("files", "float32", "temperature"), float("nan")),
        (("files", "float32", "bias"), float("inf")),
        (("face", "margin_ratio"), 0),
        (("face", "margin_ratio"), float("nan")),
        (("face", "shown_ratio"), 0),
        (("face", "shown_ratio"), float("nan")),
        (("input", "size"), 0),
        *((("files", "float32", "size_bytes"), float(size)) for size in ("inf", "nan", "-1")),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "deleted" if value is DELETED else repr(value),
)
def test_a_manifest_that_cannot_be_is_refused(
    keys: tuple[str, ...], value: object, bundle_copy: Path, manifest: dict[str, Any]
) -> None:
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    if value is DELETED:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    (bundle_copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="bundle"):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(
    ("format", "said"),
    [(3, "bundle format 3 of an earlier facetell; train and export it again"), (5, "reads 4; upgrade facetell")],
)
def test_another_format_says_what_to_do(format: int, said: str, bundle_copy: Path, manifest: dict[str, Any]) -> None:
    (bundle_copy / MANIFEST).write_text(json.dumps(manifest | {"format": format}))
    with pytest.raises(ModelError, match=said):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(
    "name",
    ["../secret.tflite", "..", ".", "", "/etc/passwd", "sub/float32.tflite", "./float32.tflite", "float32.tflite/"],
)
@pytest.mark.parametrize("entry", ["classifier", "face detector"])
def test_no_file_outside_the_bundle_is_read(
    pack: Callable[[Path], Path], entry: str, name: str, bundle_copy: Path, manifest: dict[str, Any]
) -> None:
    content = (bundle_copy / "float32.tflite").read_bytes()
    (bundle_copy.parent / "secret.tflite").write_bytes(content)
    place = manifest["face"] if entry == "face detector" else manifest["files"]["float32"]
    place |= {"file": name, "sha256": hashlib.sha256(content).hexdigest()}
    (bundle_copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError):
        load_bundle(pack(bundle_copy))


@pytest.mark.parametrize(
    "content",
    [b"", b"format: 1", b"{", b"null", b"[]", b"5", b'"text"', b"\xff\xfe\xfd", b"[" * 100_000],
    ids=["empty", "yaml", "cut", "null", "list", "number", "string", "bytes", "deep"],
)
def test_a_manifest_that_is_none_is_named(pack: Callable[[Path], Path], content: bytes, bundle_copy: Path) -> None:
    (bundle_copy / MANIFEST).write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json"):
        load_bundle(pack(bundle_copy))
