"""The bundle: a folder (or a zip of it) with everything a verdict needs, checked by hash before it is used."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .calibration import Calibration, ErrorRate, Thresholds
from .errors import ModelError

FORMAT = 4
MANIFEST = "model.json"
FACE_DETECTOR = "face_detector.tflite"
EXPLAIN = "explain.tflite"
LABELS_FILE = "labels.txt"
CARD = "MODEL_CARD.md"
PRECISIONS = ("float32", "float16", "int8")
MAX_FILE_BYTES = 64 * 2**20
MAX_MANIFEST_BYTES = 2**20
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks the others whole, however little is asked for

DEFAULT_BUNDLE = Path(__file__).parent.parent / "models" / "default"
"""The model that ships with facetell; models/ stands beside edge/ in a checkout and in an installation alike."""


@dataclass(frozen=True)
class Classifier:
    """One .tflite file of a bundle and the calibration that belongs to it."""

    precision: str
    file: str
    sha256: str
    size_bytes: int
    calibration: Calibration
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle; the bytes of its models are those whose hash the manifest names."""

    name: str
    version: str
    backbone: str
    input_size_px: int
    margin_ratio: float
    shown_ratio: float
    min_face_px: float
    pre_cropped: bool
    """Trained on pictures that were face crops already: no face is looked for."""
    face_detector: bytes = field(repr=False)
    explainer: bytes | None = field(repr=False)
    """Gives the evidence by place beside the probabilities; not every network's can be told."""
    classifiers: dict[str, Classifier]
    thresholds: Thresholds
    error_rates: tuple[ErrorRate, ...]
    """Of other thresholds, on the validation split; none in older bundles."""
    trained_on: tuple[str, ...]
    license: str
    card: str = field(repr=False)
    """MODEL_CARD.md, empty where there is none; the one file that no hash vouches for."""

    def classifier(self, precision: str | None = None) -> Classifier:
        """Return the classifier of a precision, or the most exact one.

        Raises ModelError when the bundle has none of that precision.
        """
        if precision is None:
            precision = next(known for known in PRECISIONS if known in self.classifiers)
        if precision not in self.classifiers:
            raise ModelError(f"the model {self.name} has no {precision} file; it has: {', '.join(self.classifiers)}")
        return self.classifiers[precision]

    @property
    def identity(self) -> str:
        """Name and version, as results name the model."""
        return f"{self.name} {self.version}"


def load_bundle(path: Path = DEFAULT_BUNDLE) -> Bundle:
    """Load a bundle's folder or zip.

    Raises ModelError when it is missing or incomplete, or when a file's sha256 differs from the manifest's (the message
    names the file); no runtime sees a file before that.
    """
    try:
        if path.is_dir():
            return _load(path, lambda name: _read_file(path / name))
        if not path.is_file():  # a pipe would be waited on for ever
            raise ModelError(f"there is no model at {path}; wanted a bundle's folder or zip (see: facetell export)")
        if path.suffix == ".tflite":
            raise ModelError(f"{path} is one file of a bundle; give the folder it is in")
        with zipfile.ZipFile(path) as archive:
            root = _root_in_zip(archive)
            return _load(path, lambda name: _read_member(archive, root + name))
    except ModelError:
        raise
    # A damaged, encrypted or oddly packed zip, a manifest nested beyond reason, a path that is none.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path} is not a bundle; wanted a folder or zip with a {MANIFEST}: {error}") from error


def _load(path: Path, read: Callable[[str], bytes]) -> Bundle:
    try:
        content = read(MANIFEST)
        if len(content) > MAX_MANIFEST_BYTES:  # the values take many times the memory of their JSON
            raise ModelError(f"{path}/{MANIFEST} is larger than {MAX_MANIFEST_BYTES >> 20} MiB; refused")
        manifest = json.loads(content)
    except (OSError, KeyError) as error:
        raise ModelError(f"{path} is not a bundle: it has no readable {MANIFEST}") from error
    except ValueError as error:
        raise ModelError(f"{path}/{MANIFEST} is not JSON: {error}") from error
    try:
        if manifest["format"] in range(1, FORMAT):
            raise ModelError(
                f"{path} has the bundle format {manifest['format']} of an earlier facetell; train and export it again"
            )
        if manifest["format"] != FORMAT:
            raise ModelError(
                f"{path} has bundle format {manifest['format']!r}; this facetell reads {FORMAT}; upgrade facetell"
            )
        files = {name: manifest["files"][name] for name in PRECISIONS if name in manifest["files"]}
        if not files:
            raise ModelError(f"{path} lists no model files; wanted one of {', '.join(PRECISIONS)}")
        explain = manifest.get("explain")
        return Bundle(
            name=str(manifest["name"]),
            version=str(manifest["version"]),
            backbone=str(manifest["backbone"]),
            input_size_px=int(_number(manifest["input"]["size"], 16, 4096)),
            margin_ratio=_number(manifest["face"]["margin_ratio"], 0.5, 10),
            shown_ratio=_number(manifest["face"]["shown_ratio"], 0.5, 10),
            min_face_px=_number(manifest["face"]["min_face_px"], 1, 10_000),
            pre_cropped=manifest["face"].get("pre_cropped") is True,
            face_detector=_checked(path, read, manifest["face"]["file"], manifest["face"]["sha256"]),
            explainer=_checked(path, read, explain["file"], explain["sha256"]) if explain else None,
            classifiers={
                precision: Classifier(
                    precision=precision,
                    file=entry["file"],
                    sha256=entry["sha256"],
                    size_bytes=int(_number(entry["size_bytes"], 0, MAX_FILE_BYTES)),
                    calibration=_calibration(entry["temperature"], entry["bias"]),
                    content=_checked(path, read, entry["file"], entry["sha256"]),
                )
                for precision, entry in files.items()
            },
            thresholds=_thresholds(**manifest["thresholds"]),
            error_rates=tuple(_error_rate(**entry) for entry in manifest.get("error_rates", ())),
            trained_on=tuple(map(str, manifest["trained_on"])),
            license=str(manifest["license"]),
            card=_card(read),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}/{MANIFEST} is not a manifest of format {FORMAT}: {type(error).__name__} {error}"
        ) from error


def _card(read: Callable[[str], bytes]) -> str:
    try:
        return read(CARD).decode(errors="replace")
    except (OSError, KeyError):
        return ""


def _number(value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{value!r} is not a number from {low} to {high}")
    return float(value)


def _calibration(temperature: object, bias: object) -> Calibration:
    return Calibration(_number(temperature, 1e-3, 1e3), _number(bias, -100, 100))


def _thresholds(real: object, fake: object, chosen_at: object) -> Thresholds:
    lower = _number(real, -1, 1)
    return Thresholds(real=lower, fake=_number(fake, lower, 2), chosen_at=str(chosen_at))


def _error_rate(threshold: object, false_alarms: object, missed: object) -> ErrorRate:
    return ErrorRate(_number(threshold, 0, 1), _number(false_alarms, 0, 1), _number(missed, 0, 1))


def _checked(path: Path, read: Callable[[str], bytes], name: str, sha256: str) -> bytes:
    if Path(name).name != name:
        raise ModelError(f"{path}: the manifest names the file {name!r} outside the bundle; refused")
    try:
        content = read(name)
    except (OSError, KeyError) as error:
        raise ModelError(f"{path} lacks {name}, which its manifest lists") from error
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise ModelError(
            f"{path}/{name} differs from its manifest (sha256 {got[:12]}…, wanted {sha256[:12]}…); refused"
        )
    return content


def _read_file(path: Path) -> bytes:
    if not path.is_file():  # a device or a pipe need never end
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        return _read(file, str(path), path.stat().st_size)


def _root_in_zip(archive: zipfile.ZipFile) -> str:
    manifests = [name for name in archive.namelist() if name.split("/")[-1] == MANIFEST and name.count("/") <= 1]
    if len(manifests) != 1:
        raise ModelError(f"{archive.filename} is not a bundle: it holds {len(manifests)} files {MANIFEST}, wanted one")
    return manifests[0].removesuffix(MANIFEST)


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    if member.compress_type not in _PACKINGS:
        raise ModelError(f"{archive.filename}: {name} is neither stored nor deflated; make the zip anew with: zip -r")
    with archive.open(member) as file:
        return _read(file, f"{archive.filename}: {name}", member.file_size)


def _read(file: IO[bytes], name: str, size_bytes: int) -> bytes:
    """Return no more than the size that was claimed, whatever there is."""
    if size_bytes > MAX_FILE_BYTES:
        raise ModelError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB; refused")
    return file.read(size_bytes)
