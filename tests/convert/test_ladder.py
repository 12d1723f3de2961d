"""What an int8 file is made from: the pixels that the network will see."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from facetell.convert import ladder
from facetell.edge.crops import CropSettings

from ..pictures import record, save


@pytest.mark.parametrize(("room_ratio", "spans"), [(1.5, 63 * 1.3 / 1.5), (1.3, 63), (1.0, 63)])
def test_a_fine_tune_is_shown_what_the_network_scores(tmp_path: Path, room_ratio: float, spans: float) -> None:
    ramp = np.tile(np.arange(73, dtype=np.uint8)[None, :, None], (73, 1, 3))
    save(tmp_path / "real" / "0.png", ramp)
    settings = CropSettings(input_size_px=64)
    (tmp_path / "crop.json").write_text(json.dumps({"settings": asdict(settings)}))
    known = replace(record("real/0.png", "real", split="train"), room_ratio=room_ratio)
    images = next(ladder._batches(tmp_path, [known], settings))
    assert images.shape == (32, 64, 64, 3)
    assert np.ptp(images, axis=2) == pytest.approx(spans, abs=1)
    mirrored = images[:, 0, 0, 0] > images[:, 0, -1, 0]
    assert 0 < mirrored.sum() < len(images)
    assert len(set(images[:, 0, 32, 0])) > 3
