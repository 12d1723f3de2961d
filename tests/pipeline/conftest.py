"""Crops for a network of 32 pixels, which trains in seconds, and patterns that are cropped as faces."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from facetell.edge.manifest import write_manifest

from ..pictures import pattern, record, save, warm_weights


@pytest.fixture(scope="session")
def small_crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 training, 8 validation and 8 test pictures, half of each real: enough to train a network of 64 px.

    The smallest that is shown smaller pictures first.
    """
    from facetell.edge.crops import CropSettings

    folder = tmp_path_factory.mktemp("small") / "crops"
    records = [
        record(f"{label}/{part}{number}.png", label, split=part)
        for part, count in (("train", 8), ("validation", 4), ("test", 4))
        for label in ("real", "fake")
        for number in range(count)
    ]
    for seed, known in enumerate(records):
        save(folder / known.path, pattern(seed, 73))
    write_manifest(folder, records)
    settings = CropSettings(input_size_px=64, pre_cropped=True)
    (folder / "crop.json").write_text(json.dumps({"settings": asdict(settings)}))
    return folder


@pytest.fixture(scope="session")
def small_weights(small_crops: Path) -> Path:
    """Backbone weights for small_crops, whose scores differ by picture."""
    return warm_weights(small_crops.parent / "warm.weights.h5", small_crops, 64)


@pytest.fixture(scope="session")
def settings(small_weights: Path) -> Any:
    """Three epochs of small_crops, one of the head alone."""
    from facetell.pipeline.train import TrainSettings

    return TrainSettings(weights=str(small_weights), epochs=3, head_epochs=1, batch_size=4)


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A merged data set of 24 pictures that are taken for face crops."""
    from facetell.pipeline.merge import merge
    from facetell.pipeline.sources import open_sources

    raw = tmp_path_factory.mktemp("patterns") / "raw"
    for seed in range(24):
        save(raw / ("real" if seed % 2 else "fake") / f"{seed}.png", pattern(seed, 80))
    merge(open_sources([raw]), raw.parent / "dataset")
    return raw.parent / "dataset"


@pytest.fixture(scope="session")
def undisturbed(patterns: Path) -> Path:
    """The crops of patterns, made in one go."""
    from facetell.edge.crops import CropSettings
    from facetell.pipeline.crop import crop

    crop(patterns, patterns.parent / "undisturbed", CropSettings(pre_cropped=True), workers=1)
    return patterns.parent / "undisturbed"
