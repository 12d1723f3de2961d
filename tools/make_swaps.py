"""Makes face swaps of the real faces in a split, to measure a detector on swaps by a hand it has never seen.

Run it with: python -m facetell.tools.make_swaps CROPS SPLIT OUTPUT, and then: facetell evaluate RUN --crops OUTPUT
--split SPLIT -o REPORT
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from ..edge.crops import CROP_SETTINGS, read_crop
from ..edge.errors import DatasetError
from ..edge.manifest import Record, read_manifest, write_manifest
from .make_samples import swap_face


def make_swaps(crops: Path, split: str, output: Path) -> list[Record]:
    """Write a crops folder of each real face of a split, and of the same face with that of the next one swapped in.

    Faces are of one source and of two groups, so of two people where groups are people. Those whose mesh is not found
    are left out. Raises DatasetError when output exists.
    """
    if output.exists():
        raise DatasetError(f"{output} exists already; choose another folder")
    reals = [record for record in read_manifest(crops) if record.split == split and not record.is_fake]
    reals.sort(key=lambda record: (record.source, record.sha256))
    records: list[Record] = []
    for target, source in pairwise(reals):
        if target.source != source.source or target.group == source.group:
            continue
        real = read_crop(crops, target)
        try:
            fake = swap_face(read_crop(crops, source), real)
        except TypeError:  # no mesh
            continue
        digest = hashlib.sha256(f"{source.sha256} in {target.sha256}".encode()).hexdigest()
        swap = replace(target, path=f"{target.source}/fake/{digest[:16]}.png", sha256=digest, label="fake")
        for record, picture in ((target, real), (swap, fake)):
            (output / record.path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(output / record.path), np.ascontiguousarray(picture[:, :, ::-1]))
        records += [target, swap]
    shutil.copy(crops / CROP_SETTINGS, output / CROP_SETTINGS)
    write_manifest(output, records)
    return records


if __name__ == "__main__":
    made = make_swaps(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    print(f"{len(made) // 2} swaps, and as many real faces")
