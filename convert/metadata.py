"""What a .tflite file says of itself, so that MediaPipe Tasks and unzip can read it."""

from __future__ import annotations

import io
import zipfile

from mediapipe.tasks.python.metadata.metadata_writers import metadata_writer

from ..edge.bundle import LABELS_FILE
from ..edge.manifest import LABELS

DESCRIPTION = (
    "Tells real faces from fake ones in a square RGB face crop, 0..255. Two outputs: the probabilities of real and "
    "fake. A verdict is evidence, not proof."
)


def with_metadata(model: bytes, name: str, license: str) -> bytes:
    """Return a .tflite classifier with name, description, license, normalisation (none) and labels inside."""
    writer = metadata_writer.MetadataWriter.create(bytearray(model))
    writer.add_general_info(name, f"{DESCRIPTION} License: {license}.")
    writer.add_image_input([0.0], [1.0])
    writer.add_classification_output(metadata_writer.Labels().add(list(LABELS), exported_filename=LABELS_FILE))
    content, _ = writer.populate()
    return _with_undated_files(bytes(content))


def _with_undated_files(model: bytes) -> bytes:
    """Return a .tflite whose packed files carry no clock time, so that the same model gives the same bytes."""
    with zipfile.ZipFile(io.BytesIO(model)) as dated:
        files = {info.filename: dated.read(info) for info in dated.infolist()}
        start = min(info.header_offset for info in dated.infolist())
    undated = io.BytesIO(model[:start])
    with zipfile.ZipFile(undated, "a") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return undated.getvalue()
