from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from facetell.edge.manifest import Record
from facetell.pipeline.batches import CropCache, TrainingBatches, class_weights, source_repeats

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
    return TrainingBatches(CropCache(*crops), 32, batch_size, seed, epoch, self_blend_share=0, face_px=32)


def same(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_is_what_the_network_takes(crops) -> None:
    images, labels, weights = batches(crops)[0]
    assert (images.shape, images.dtype) == ((4, 32, 32, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((4, 1), np.float32)
    assert (weights.shape, weights.dtype) == ((4,), np.float32)
    assert images.min() >= 0
    assert images.max() > 100  # not scaled: the network takes 0..255


def test_each_picture_has_its_own_label_and_weight(crops) -> None:
    for images, labels, weights in (batches(crops)[index] for index in range(3)):
        assert [bool(image.mean() > 95) for image in images] == [bool(label) for label in labels[:, 0]]
        assert weights.tolist() == pytest.approx([1.5 if label else 0.75 for label in labels[:, 0]])


@pytest.mark.parametrize(("limit_bytes", "kept"), [(0, 0), (3 * 37 * 37 * 3, 3), (1_000_000, 12)])
def test_crops_are_decoded_once_while_there_is_room(crops, limit_bytes: int, kept: int) -> None:
    cache = CropCache(*crops, limit_bytes)
    first = [cache[index] for index in range(12)]
    again = [cache[index] for index in range(12)]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert sum(one is other for one, other in zip(first, again, strict=True)) == kept


def test_an_epoch_shows_every_picture_of_one_source_once(crops) -> None:
    labels = np.concatenate([batches(crops)[index][1] for index in range(len(batches(crops)))])
    assert (len(labels), labels.sum()) == (12, 4)


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


@pytest.mark.parametrize(("share", "blended"), [(0, 0), (0.5, 2), (1, 4)])
def test_a_share_of_the_fakes_gives_way_to_self_blends(crops, share: float, blended: int) -> None:
    """Fakes are bright and reals dark here, so a self-blend shows by its light."""
    made = [TrainingBatches(CropCache(*crops), 32, 12, seed, 0, share, 32)[0] for seed in range(20)]
    for _, labels, _ in made:
        assert labels.sum() == 4
    bright = [(images.mean(axis=(1, 2, 3)) > 95)[labels[:, 0] == 1].sum() for images, labels, _ in made]
    assert np.mean(bright) == pytest.approx(4 - blended, abs=0.6 if share == 0.5 else 0)


SETS = {
    # source -> its real and fake pictures
    "one source": {"a": (10, 10)},
    "more fake": {"a": (10, 40)},
    "a small source": {"a": (100, 100), "b": (3, 1)},
    "one label a source": {"a": (50, 0), "b": (0, 7), "c": (5, 5)},
}


def records_of(sizes: dict[str, tuple[int, int]]) -> list[Record]:
    return [
        record(f"{source}{label}{number}.png", label, source=source)
        for source, counts in sizes.items()
        for label, count in zip(("real", "fake"), counts, strict=True)
        for number in range(count)
    ]


@pytest.mark.parametrize("sizes", SETS.values(), ids=SETS)
def test_repeats_are_one_on_average_and_fall_with_the_root_of_the_size(sizes) -> None:
    records = records_of(sizes)
    repeats = source_repeats(records)
    assert repeats.mean() == pytest.approx(1)
    scaled = {
        known.source: repeat * sum(sizes[known.source]) ** 0.5 for known, repeat in zip(records, repeats, strict=True)
    }
    assert list(scaled.values()) == pytest.approx([scaled["a"]] * len(scaled))


@pytest.mark.parametrize("sizes", SETS.values(), ids=SETS)
def test_weights_make_both_labels_count_the_same(sizes) -> None:
    records = records_of(sizes)
    repeats, weights = source_repeats(records), class_weights(records)
    total = {
        label: sum(r * weights[label] for r, known in zip(repeats, records, strict=True) if known.label == label)
        for label in ("real", "fake")
    }
    assert total["real"] == pytest.approx(total["fake"])
    assert total["real"] + total["fake"] == pytest.approx(len(records))


def test_an_epoch_repeats_a_small_source(tmp_path: Path) -> None:
    records = records_of({"large": (90, 90), "small": (5, 5)})
    epochs = [TrainingBatches(CropCache(tmp_path, records), 32, 1, 0, epoch, 0, 32) for epoch in range(30)]
    expected = float(source_repeats(records).sum())
    assert np.mean([len(epoch) for epoch in epochs]) == pytest.approx(expected, rel=0.02)
