"""Crops for training on a cluster: each worker has a cropper, and all see the data set and where its crops go."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence

import pyarrow as pa

from ...pipeline.crop import Cropper, Found
from .diary import KILLER, Diary
from .engine import cluster, spread

_BATCH_PICTURES = 64


def cut_on_cluster(
    cropper: Cropper, paths: Sequence[str], workers: int | None, *, address: str
) -> Iterator[tuple[str, Found]]:
    """Do what pipeline.crop.in_processes does, on the cluster at an address; raises what cluster and spread raise."""

    def batches() -> Iterator[pa.StructArray]:
        for start in range(0, len(paths), _BATCH_PICTURES):
            names = [os.fsencode(path) for path in paths[start : start + _BATCH_PICTURES]]
            yield pa.StructArray.from_arrays([pa.array(names, pa.binary())], ["path"])

    with cluster(address, workers) as count:
        for rows in spread(batches, Worker, (cropper,), count):
            for path, found in zip(rows.field("path").to_pylist(), rows.field("found").to_pylist(), strict=True):
                yield os.fsdecode(path), json.loads(found)


class Worker:
    """A cropper, for the batches it is given."""

    def __init__(self, cropper: Cropper) -> None:
        """Take a cropper."""
        self._crop = cropper
        self._crops = threading.Lock()

    def __call__(self, items: pa.StructArray, diary: Diary) -> pa.StructArray:
        """Return the path and, as JSON, what was found of each; raises SourceError where folders are not shared."""
        with self._crops:
            self._crop.check()
            found = [
                self._crop(os.fsdecode(path)) if may_look else {"crops": [], "reason": KILLER}
                for path, may_look in diary.each(items.field("path").to_pylist())
            ]
        return pa.StructArray.from_arrays([items.field("path"), pa.array(map(json.dumps, found))], ["path", "found"])
