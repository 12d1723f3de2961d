"""The rows of a scan as Parquet, in parts that are each written whole."""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.compute import field
from pyarrow.dataset import Dataset, dataset
from pyarrow.fs import FileSelector, LocalFileSystem

from ...edge.detector import Detector
from ...edge.errors import SourceError
from ...edge.files import lock, replacing
from ...edge.results import FileResult
from .sources import File, cause, file_system, is_remote, shown

FACE = pa.struct(
    [
        ("box_xyxy", pa.list_(pa.float64(), 4)),
        ("score", pa.float64()),
        ("p_fake", pa.float64()),
        ("verdict", pa.string()),
        ("roll_degrees", pa.float64()),
        ("doubt", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("best_s", pa.float64()),
        ("frames", pa.int32()),
    ]
)

ROW = pa.struct(
    [
        ("path", pa.string()),
        ("status", pa.string()),
        ("verdict", pa.string()),
        ("p_fake", pa.float64()),
        ("faces", pa.list_(FACE)),
        ("deciding_face", pa.int32()),
        ("too_small", pa.int32()),
        ("doubtful", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("duration_s", pa.float64()),
        ("fps", pa.float64()),
        ("model", pa.string()),
        ("precision", pa.string()),
        ("rule", pa.string()),
        ("latency_ms", pa.float64()),
        ("error", pa.string()),
        ("size_bytes", pa.int64()),
        ("modified", pa.timestamp("us", "UTC")),
        ("model_sha256", pa.string()),
    ]
)
"""What scan writes to JSONL, and the file and the model it was made of."""

SCHEMA = pa.schema(ROW)

_PART_ROWS = 50_000
_PART_S = 30.0


NOT_FETCHED = "cannot be fetched"
"""How the reason begins for which a file may be read another time."""

NONE_DONE = np.array([], "S16")
"""Keys of no files."""

Row = dict[str, Any]
"""A ROW in Python."""


def row(result: FileResult, file: File, name: str, detector: Detector) -> Row:
    """Return the result of a file as a ROW; name is what it is called there."""
    error = result.error and result.error.encode(errors="backslashreplace").decode()
    made_of = {
        "size_bytes": file["size_bytes"],
        "modified": file["modified_us"],
        "model_sha256": model_sha256(detector),
    }
    return asdict(result) | {"path": name, "error": error} | made_of


def model_sha256(detector: Detector) -> str:
    """Return the hash of the .tflite file that a detector scores with."""
    return detector.bundle.classifier(detector.signed["precision"]).sha256


def key(name: str, size_bytes: int | None, modified_us: int | None) -> bytes:
    """Return 16 bytes that stand for a file as it was listed."""
    return blake2b(f"{name}\0{size_bytes}\0{modified_us}".encode(), digest_size=16).digest()


def newest(written: Dataset, detector: Detector, fps: float, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns of the rows that a detector would make, of videos at fps; of each file the last row alone."""
    made_so = field("model_sha256") == model_sha256(detector)
    for name in ("model", "rule"):  # another calibration of the same file is another model
        made_so &= field(name) == detector.signed[name]
    made_so &= field("fps").is_null() | (field("fps") == fps)
    paths = [np.array([], np.int64)]
    for batch in written.to_batches(["path"], filter=made_so):
        paths.append(np.array([hash(path) for path in batch["path"].to_pylist()], np.int64))
    paths = np.concatenate(paths)
    is_last = np.zeros(len(paths), bool)
    is_last[len(paths) - 1 - np.unique(paths[::-1], return_index=True)[1]] = True
    start = 0
    for batch in written.to_batches(list(columns), filter=made_so):
        yield batch.filter(pa.array(is_last[start : start + batch.num_rows]))
        start += batch.num_rows


def done_keys(written: Dataset, detector: Detector, fps: float) -> np.ndarray:
    """Return the keys, sorted, of the files that a detector need not look at again; what was not fetched is no such."""
    keys = [NONE_DONE]
    for batch in newest(written, detector, fps, ["path", "size_bytes", "modified", "error"]):
        columns = (batch["path"], batch["size_bytes"], batch["modified"].cast(pa.int64()), batch["error"])
        files = zip(*(column.to_pylist() for column in columns), strict=True)
        own = [key(*file) for *file, error in files if not (error or "").startswith(NOT_FETCHED)]
        keys.append(np.array(own, NONE_DONE.dtype))
    return np.sort(np.concatenate(keys))


class Parts:
    """A folder of Parquet files, here or at an address; each is there whole or not at all."""

    def __init__(self, output: str) -> None:
        """Look at a folder, which need not be there; raises SourceError where there can be none."""
        self._name = shown(output) if is_remote(output) else output
        self._files, folder = file_system(output) if is_remote(output) else (LocalFileSystem(), output)
        self._folder = folder.rstrip("/") or "/"
        self._waiting: list[pa.RecordBatch] = []
        self._written_s = time.monotonic()
        run = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
        self._names = (f"{run}-{number:05}.parquet" for number in count())

    def is_there(self) -> bool:
        """Return whether there is anything that counts; raises SourceError where there can be no folder."""
        try:
            found = self._files.get_file_info(FileSelector(self._folder, allow_not_found=True))
            return any(not info.base_name.startswith((".", "_")) for info in found)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{self._name} cannot be a folder for results: {cause(error)}") from error

    def dataset(self) -> Dataset:
        """Return all rows that were written; raises SourceError where something else is in the folder."""
        foreign = f"{self._name} holds what is no result of such a scan; choose another with -o"
        try:
            written = dataset(self._folder, filesystem=self._files, format="parquet")
            ours = all(part.physical_schema.equals(SCHEMA) for part in written.get_fragments())
        except (pa.ArrowException, OSError) as error:
            raise SourceError(foreign) from error
        if not ours:
            raise SourceError(foreign)
        return written

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other scans on this machine out of a folder here; raises SourceError where another writes into it."""
        if not isinstance(self._files, LocalFileSystem):
            yield
            return
        folder = Path(self._folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            locked = io.FileIO(folder / "_lock", "w")
        except OSError as error:
            raise SourceError(f"{self._name} cannot be a folder for results: {cause(error)}") from error
        with locked as file:
            try:
                lock(file)
            except BlockingIOError as error:
                raise SourceError(f"{self._name} is being written by another scan; choose another with -o") from error
            try:
                yield
            finally:
                with suppress(OSError):
                    (folder / "_lock").unlink()
                    folder.rmdir()  # where nothing came of it

    def add(self, rows: pa.StructArray) -> None:
        """Take some rows; raises SourceError where they cannot be written."""
        self._waiting.append(pa.RecordBatch.from_struct_array(rows))
        waits_s = time.monotonic() - self._written_s
        if sum(batch.num_rows for batch in self._waiting) >= _PART_ROWS or waits_s >= _PART_S:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait; raises SourceError where they cannot be written."""
        self._written_s = time.monotonic()
        if not self._waiting:
            return
        rows, self._waiting = pa.Table.from_batches(self._waiting, SCHEMA), []
        part = pa.BufferOutputStream()
        pq.write_table(rows, part, compression="zstd")
        self.write(next(self._names), part.getvalue())

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file into the folder; raises SourceError when that is not possible."""
        path = f"{self._folder}/{name}"
        try:
            if isinstance(self._files, LocalFileSystem):
                with replacing(Path(path)) as partial:
                    partial.write_bytes(content)
            else:  # a store has a file when it is complete, or not at all
                with self._files.open_output_stream(path) as file:
                    file.write(content)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"cannot write {self._name}: {cause(error)}") from error
