"""Bytes nobody has thought of: whatever they are, a picture, a reason or an error of ours comes of them."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from facetell.edge.bundle import DEFAULT_BUNDLE, MANIFEST, load_bundle
from facetell.edge.errors import DatasetError, ImageError, ModelError, SourceError
from facetell.edge.images import REDUCTIONS, Picture
from facetell.edge.manifest import read_manifest
from facetell.edge.results import finished

SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 80},
    "progressive": {"format": "JPEG", "progressive": True},
    "PNG": {},
    "WEBP": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "GIF": {},
}
if features.check("avif"):
    FORMATS["AVIF"] = {}
if find_spec("pillow_heif"):
    import_module("pillow_heif").register_heif_opener()
    FORMATS["HEIF"] = {}


@cache
def encoded(format: str) -> bytes:
    options = dict(FORMATS[format])
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, options.pop("format", format), **options)
    return file.getvalue()


@st.composite
def spoiled(draw: st.DrawFn, content: bytes) -> bytes:
    """Content with some bytes changed, and perhaps cut or lengthened."""
    data = bytearray(content)
    for _ in range(draw(st.integers(0, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(data)) | st.none())
    return bytes(data[:cut]) + draw(st.binary(max_size=16))


@pytest.mark.parametrize("format", FORMATS)
@SETTINGS
@given(data=st.data())
def test_a_spoiled_picture_is_pixels_or_a_reason(format: str, data: st.DataObject) -> None:
    content = data.draw(spoiled(encoded(format)))
    with suppress(ImageError):
        pixels = Picture(content, max_megapixels=1).decode(data.draw(st.sampled_from(REDUCTIONS)))
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.size <= 3e6


@pytest.mark.parametrize("format", FORMATS)
@SETTINGS
@given(kept=st.floats(0, 1), rest=st.binary(max_size=200))
def test_any_bytes_after_a_sound_start_are_no_picture_or_one(format: str, kept: float, rest: bytes) -> None:
    """The start has at least the magic number, without which nothing is decoded."""
    content = encoded(format)
    with suppress(ImageError):
        assert Picture(content[: max(16, int(kept * len(content)))] + rest, max_megapixels=1).decode().ndim == 3


JSON = st.recursive(
    # No subnormal floats: tflite-runtime, once loaded, has an ARM processor take them for zero.
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def changed(draw: st.DrawFn, value: object) -> object:
    """A JSON value with one part of it replaced by anything."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        return value | {name: draw(changed(value[name]))}
    return draw(JSON)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(DEFAULT_BUNDLE, tmp_path_factory.mktemp("fuzz") / "bundle")


@SETTINGS
@given(data=st.data())
def test_a_changed_manifest_of_a_bundle_is_refused_or_read(copy: Path, data: st.DataObject) -> None:
    manifest = json.loads((DEFAULT_BUNDLE / MANIFEST).read_bytes())
    (copy / MANIFEST).write_text(json.dumps(data.draw(changed(manifest))))
    with suppress(ModelError):
        assert 16 <= load_bundle(copy).input_size_px <= 4096


@SETTINGS
@given(content=st.binary(max_size=300))
def test_any_bytes_are_no_bundle(copy: Path, content: bytes) -> None:
    (copy / MANIFEST).write_bytes(content)
    with pytest.raises(ModelError):
        load_bundle(copy)
    (copy / "a.zip").write_bytes(content)
    with pytest.raises(ModelError):
        load_bundle(copy / "a.zip")


@SETTINGS
@given(data=st.data())
def test_a_spoiled_model_never_reaches_the_runtime(copy: Path, data: st.DataObject) -> None:
    for name in (MANIFEST, "int8.tflite"):
        shutil.copy(DEFAULT_BUNDLE / name, copy / name)
    content = bytearray((copy / "int8.tflite").read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (copy / "int8.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=r"int8\.tflite differs"):
        load_bundle(copy)


@SETTINGS
@given(content=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode() + b"\n"))
def test_any_bytes_are_results_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with suppress(SourceError):
        known, failed = finished(tmp_path / "rows.jsonl", {"model": "a", "rule": "b"})
        assert failed <= len(known)


@SETTINGS
@given(content=st.binary(max_size=300))
def test_any_bytes_are_a_manifest_of_pictures_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.csv").write_bytes(content)
    with suppress(DatasetError):
        assert isinstance(read_manifest(tmp_path), list)
