from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mediapipe")

from facetell.edge.crops import read_crop
from facetell.edge.errors import DatasetError
from facetell.edge.manifest import read_manifest
from facetell.tools.make_swaps import make_swaps


def test_every_swap_stands_beside_the_face_it_was_made_of(crops: Path, tmp_path: Path) -> None:
    made = make_swaps(crops, "train", tmp_path / "swaps")
    assert made == read_manifest(tmp_path / "swaps")
    assert len(made) >= 2
    for real, swap in zip(made[::2], made[1::2], strict=True):
        assert (real.label, swap.label) == ("real", "fake")
        assert (swap.source, swap.group, swap.split) == (real.source, real.group, "train")
        assert np.array_equal(read_crop(tmp_path / "swaps", real), read_crop(crops, real))
        assert not np.array_equal(read_crop(tmp_path / "swaps", swap), read_crop(crops, real))


def test_swaps_do_not_go_over_a_folder_that_stands(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="exists already"):
        make_swaps(crops, "train", tmp_path)
