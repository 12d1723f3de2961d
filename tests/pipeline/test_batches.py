import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from facetell.edge.manifest import Record
from facetell.pipeline.batches import SELF_BLEND, CropCache, TrainingBatches, balanced_order, kinds_of_fakes

from ..pictures import pattern, record, save


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """8 real and 4 fake crops of 37 px, dark and bright."""
    folder = tmp_path_factory.mktemp("crops")
    records = [record(f"real/{i}.png", "real") for i in range(8)] + [record(f"fake/{i}.png", "fake") for i in range(4)]
    for seed, known in enumerate(records):
        save(folder / known.path, pattern(seed, 37) // 4 + (128 if known.is_fake else 0))
    return folder, records


def batches(crops: tuple[Path, list[Record]], seed: int = 0, epoch: int = 0, batch_size: int = 4) -> TrainingBatches:
    return TrainingBatches(CropCache(*crops), 32, 32, batch_size, seed, epoch, self_blend_share=0, face_px=32)


def same(one: tuple[np.ndarray, dict[str, np.ndarray]], other: tuple[np.ndarray, dict[str, np.ndarray]]) -> bool:
    return np.array_equal(one[0], other[0]) and all(np.array_equal(one[1][name], other[1][name]) for name in one[1])


def test_a_batch_is_what_the_network_takes(crops) -> None:
    images, truths = batches(crops)[0]
    assert (images.shape, images.dtype) == ((4, 32, 32, 3), np.float32)
    assert {name: (truth.shape, truth.dtype) for name, truth in truths.items()} == {
        "p_fake": ((4, 1), np.float32),
        "kind": ((4, 2), np.float32),
    }
    assert np.array_equal(truths["kind"][:, 1:], truths["p_fake"])
    assert truths["kind"].sum(axis=1).tolist() == [1, 1, 1, 1]
    assert images.min() >= 0
    assert images.max() > 100  # not scaled: the network takes 0..255


def test_each_picture_has_its_own_label_and_half_are_fake(crops) -> None:
    for images, truths in (batches(crops)[index] for index in range(3)):
        labels = truths["p_fake"]
        assert [bool(image.mean() > 95) for image in images] == [bool(label) for label in labels[:, 0]]
        assert labels.mean() == 0.5


@pytest.mark.parametrize(("limit_bytes", "kept"), [(0, 0), (3 * 37 * 37 * 3, 3), (1_000_000, 12)])
def test_crops_are_decoded_once_while_there_is_room(crops, limit_bytes: int, kept: int) -> None:
    cache = CropCache(*crops, limit_bytes)
    first = [cache[index] for index in range(12)]
    again = [cache[index] for index in range(12)]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert sum(one is other for one, other in zip(first, again, strict=True)) == kept


def test_pictures_can_be_shown_smaller(crops) -> None:
    """The same views: nothing is cut off."""
    full, small = (TrainingBatches(CropCache(*crops), 32, shown, 4, 0, 0, 0, 32)[0][0] for shown in (32, 16))
    assert small.shape == (4, 16, 16, 3)
    assert np.abs(full.reshape(4, 16, 2, 16, 2, 3).mean(axis=(2, 4)) - small).max() <= 1


def test_seed_epoch_and_index_alone_decide(crops) -> None:
    one, other = batches(crops, seed=3, epoch=2), batches(crops, seed=3, epoch=2)
    backwards = [other[index] for index in reversed(range(3))][::-1]
    assert all(same(one[index], backwards[index]) for index in range(3))


@pytest.mark.parametrize(("seed", "epoch", "index"), [(4, 2, 0), (3, 1, 0), (3, 2, 1)], ids=["seed", "epoch", "index"])
def test_another_seed_epoch_or_index_is_another_batch(crops, seed: int, epoch: int, index: int) -> None:
    assert not same(batches(crops, 3, 2)[0], batches(crops, seed, epoch)[index])


@pytest.mark.parametrize(("batch_size", "count"), [(4, 3), (5, 2), (12, 1), (13, 1), (100, 1)])
def test_only_whole_batches_count_but_one_there_always_is(crops, batch_size: int, count: int) -> None:
    made = batches(crops, batch_size=batch_size)
    assert len(made) == count
    assert len(made[0][0]) == min(batch_size, 12)


@pytest.mark.parametrize(("share", "blended"), [(0, 0), (0.5, 3), (1, 6)])
def test_a_share_of_the_fakes_gives_way_to_self_blends(crops, share: float, blended: int) -> None:
    """Fakes are bright and reals dark here, so a self-blend shows by its light."""
    made = [TrainingBatches(CropCache(*crops), 32, 32, 12, seed, 0, share, 32)[0] for seed in range(20)]
    for _, truths in made:
        assert truths["p_fake"].sum() == 6
        assert truths["kind"].sum(axis=1).tolist() == [1] * 12
    bright = [(images.mean(axis=(1, 2, 3)) > 95)[truths["p_fake"][:, 0] == 1].sum() for images, truths in made]
    assert [int(truths["kind"][:, 1].sum()) for _, truths in made] == bright  # the source's own fakes
    assert np.mean(bright) == pytest.approx(6 - blended, abs=0.6 if share == 0.5 else 0)


def test_a_batch_without_reals_blends_others(crops) -> None:
    alone = TrainingBatches(CropCache(*crops), 32, 32, 1, 0, 0, 1, 32)
    fakes = [images for images, truths in map(alone.__getitem__, range(12)) if truths["p_fake"][0, 0]]
    assert len(fakes) == 6
    assert all(images.mean() < 95 for images in fakes)


@pytest.mark.parametrize("source", ["real", "fake", "self-blend"])
def test_a_set_of_any_name_keeps_its_labels(crops, source: str) -> None:
    folder, records = crops
    named = [replace(known, source=source) for known in records]
    _, truths = TrainingBatches(CropCache(folder, named), 32, 32, 12, 0, 0, 0.5, 32)[0]
    assert truths["kind"].shape == (12, 3)
    assert sorted(truths["p_fake"][:, 0]) == [0] * 6 + [1] * 6
    assert truths["kind"].sum(axis=1).tolist() == [1] * 12


def test_kinds_are_the_sources_of_fakes_and_self_blends() -> None:
    records = records_of({"b": (3, 2), "c": (4, 0), "a": (0, 1)})
    assert kinds_of_fakes(records, 0) == ["a", "b"]
    assert kinds_of_fakes(records, 0.2) == ["a", "b", SELF_BLEND]


SETS = {
    # source -> its real and fake pictures; source -> how often its real and fake ones are shown in an epoch
    "one source": ({"a": (10, 10)}, {"a": (10, 10)}),
    "more fake": ({"a": (10, 40)}, {"a": (25, 25)}),
    "an odd number": ({"a": (4, 3)}, {"a": (4, 4)}),
    "a small source": ({"a": (100, 100), "b": (4, 4)}, {"a": (86.7, 86.7), "b": (17.3, 17.3)}),
    "one label a source": (
        {"a": (50, 0), "b": (0, 8), "c": (2, 2)},
        {"a": (27.2, 0), "b": (0, 22.9), "c": (3.8, 8.1)},
    ),
}


def records_of(sizes: dict[str, tuple[int, int]]) -> list[Record]:
    return [
        record(f"{source}{label}{number}.png", label, source=source)
        for source, counts in sizes.items()
        for label, count in zip(("real", "fake"), counts, strict=True)
        for number in range(count)
    ]


@pytest.mark.parametrize(("sizes", "shown"), SETS.values(), ids=SETS)
def test_an_epoch_is_even_over_labels_and_nearly_over_sources(sizes, shown) -> None:
    records = records_of(sizes)
    order = balanced_order(records, np.random.default_rng(0))
    assert len(order) == 2 * math.ceil(len(records) / 2)
    assert [records[index].label for index in order] == ["real", "fake"] * (len(order) // 2)
    for source, expected in shown.items():
        for label, times in zip(("real", "fake"), expected, strict=True):
            of_it = [index for index in order if records[index].source == source and records[index].label == label]
            assert len(of_it) == pytest.approx(times, abs=2)
            each = np.bincount(of_it, minlength=len(records))[
                [i for i, known in enumerate(records) if known.source == source and known.label == label]
            ]
            assert not len(each) or np.ptp(each) <= 1  # none is shown twice more than its like
