"""crop --cluster gives what crop gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from facetell.edge.crops import CropSettings
from facetell.edge.errors import SourceError
from facetell.pipeline.crop import Cropper
from facetell.tools.cli import run

from ...pictures import raw_patterns, tree
from ...program import DONE

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray about itself


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("merged")
    assert run(["merge", str(raw_patterns(work / "raw", 40, 40)), "-o", str(work / "dataset")]) == DONE
    return work / "dataset"


def test_the_crops_are_the_same(merged: Path, tmp_path: Path, ray_address: str) -> None:
    for name, options in {"here": [], "there": ["--cluster", ray_address]}.items():
        assert run(["crop", str(merged), "--pre-cropped", "-o", str(tmp_path / name), *options]) == DONE
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


def test_folders_that_a_node_does_not_have_are_told(merged: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    from facetell.tools.cluster.crop import Worker
    from facetell.tools.cluster.diary import Diary

    worker = Worker(Cropper(merged, tmp_path / "elsewhere", CropSettings(pre_cropped=True)))
    picture = pa.array([{"path": b"real/0.png"}], pa.struct([("path", pa.binary())]))
    with Diary("test", 0, 1) as diary, pytest.raises(SourceError, match="elsewhere is not the same on every node"):
        worker(picture, diary)
    assert not (tmp_path / "elsewhere").exists()
