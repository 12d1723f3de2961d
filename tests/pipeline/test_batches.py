import math
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from facetell.edge.cut import crop_face
from facetell.edge.manifest import Record
from facetell.pipeline.batches import SELF_BLEND, CropCache, TrainingBatches, kinds_of_fakes, paired_order

from ..pictures import pattern, record, save

Crops = tuple[Path, list[Record]]
Sizes = dict[str, tuple[int, int]]
"""Source -> how many real and fake pictures it has."""


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Crops:
    """8 real and 4 fake crops of 37 px, dark and bright."""
    folder = tmp_path_factory.mktemp("crops")
    records = [record(f"real/{i}.png", "real") for i in range(8)] + [record(f"fake/{i}.png", "fake") for i in range(4)]
    for seed, known in enumerate(records):
        save(folder / known.path, pattern(seed, 37) // 4 + (128 if known.is_fake else 0))
    return folder, records


def batches(crops: Crops, seed: int = 0, epoch: int = 0, batch_size: int = 4, blends: float = 0) -> TrainingBatches:
    return TrainingBatches(CropCache(*crops), 32, 32, batch_size, seed, epoch, blends)


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


def test_a_batch_is_pairs_of_a_real_and_a_fake(crops) -> None:
    for images, truths in (batches(crops)[index] for index in range(3)):
        assert truths["p_fake"][:, 0].tolist() == [0, 1, 0, 1]
        assert [bool(image.mean() > 95) for image in images] == [False, True, False, True]


@pytest.mark.parametrize(("limit_bytes", "kept"), [(0, 0), (3 * 37 * 37 * 3, 3), (1_000_000, 12)])
def test_crops_are_decoded_once_while_there_is_room(crops, limit_bytes: int, kept: int) -> None:
    cache = CropCache(*crops, limit_bytes)
    first = [cache[index] for index in range(12)]
    again = [cache[index] for index in range(12)]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert sum(one is other for one, other in zip(first, again, strict=True)) == kept


def test_pictures_can_be_shown_smaller(crops) -> None:
    """The same views: nothing is cut off."""
    full, small = (TrainingBatches(CropCache(*crops), 32, shown, 4, 0, 0, 0)[0][0] for shown in (32, 16))
    assert small.shape == (4, 16, 16, 3)
    assert np.abs(full.reshape(4, 16, 2, 16, 2, 3).mean(axis=(2, 4)) - small).max() <= 1


def test_seed_epoch_and_index_alone_decide(crops) -> None:
    one, other = batches(crops, seed=3, epoch=2), batches(crops, seed=3, epoch=2)
    backwards = [other[index] for index in reversed(range(3))][::-1]
    assert all(same(one[index], backwards[index]) for index in range(3))


@pytest.mark.parametrize(("seed", "epoch", "index"), [(4, 2, 0), (3, 1, 0), (3, 2, 1)], ids=["seed", "epoch", "index"])
def test_another_seed_epoch_or_index_is_another_batch(crops, seed: int, epoch: int, index: int) -> None:
    assert not same(batches(crops, 3, 2)[0], batches(crops, seed, epoch)[index])


@pytest.mark.parametrize(
    ("batch_size", "count", "pictures"),
    [(1, 6, 2), (2, 6, 2), (4, 3, 4), (5, 3, 4), (8, 1, 8), (12, 1, 12), (13, 1, 12), (100, 1, 12)],
)
def test_whole_batches_of_whole_pairs_count_but_one_there_always_is(
    crops, batch_size: int, count: int, pictures: int
) -> None:
    made = batches(crops, batch_size=batch_size)
    assert len(made) == count
    assert [len(made[index][0]) for index in range(count)] == [pictures] * count
    assert made.pictures == count * pictures


@pytest.mark.parametrize(("share", "blended"), [(0, 0), (0.5, 3), (1, 6)])
def test_a_share_of_the_fakes_are_self_blends(crops, share: float, blended: int) -> None:
    """Fakes are bright and reals dark here, so a self-blend shows by its light."""
    made = [batches(crops, seed, 0, 12, share)[0] for seed in range(20)]
    for _, truths in made:
        assert truths["p_fake"].sum() == 6
        assert truths["kind"].sum(axis=1).tolist() == [1] * 12
    bright = [(images.mean(axis=(1, 2, 3)) > 95)[truths["p_fake"][:, 0] == 1].sum() for images, truths in made]
    assert [int(truths["kind"][:, 1].sum()) for _, truths in made] == bright  # the source's own fakes
    assert np.mean(bright) == pytest.approx(6 - blended, abs=0.6 if share == 0.5 else 0)


@pytest.mark.parametrize("source", ["real", "fake", "self-blend"])
def test_a_source_of_any_name_keeps_its_labels(crops, source: str) -> None:
    folder, records = crops
    named = [replace(known, source=source) for known in records]
    _, truths = batches((folder, named), batch_size=12, blends=0.5)[0]
    assert truths["kind"].shape == (12, 3)
    assert sorted(truths["p_fake"][:, 0]) == [0] * 6 + [1] * 6
    assert truths["kind"].sum(axis=1).tolist() == [1] * 12


def test_kinds_are_the_sources_of_fakes_and_self_blends() -> None:
    records = records_of({"b": (3, 2), "c": (4, 0), "a": (0, 1)})
    assert kinds_of_fakes(records, 0) == ["a", "b"]
    assert kinds_of_fakes(records, 0.2) == ["a", "b", SELF_BLEND]


# The two of a pair


SCENE = pattern(7, 600)
FACE = (240, 240, 360, 360)
"""A box in the scene."""


def scene_crops(folder: Path, room_real: float, room_fake: float) -> Crops:
    """Return one face as a real and a fake crop for a network of 64 px, with so much room around it."""
    records = []
    for label, room_ratio in (("real", room_real), ("fake", room_fake)):
        known = record(f"{label}/face.png", label, group="one face")
        crop = crop_face(SCENE, FACE, size_px=74, margin_ratio=room_ratio, surround_ratio=74 / 64)
        save(folder / known.path, crop)
        records.append(replace(known, room_ratio=room_ratio))
    return folder, records


def pairs(crops: Crops, count: int = 30) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the pictures of a pair in so many epochs."""
    made = [TrainingBatches(CropCache(*crops), 64, 64, 2, 0, epoch, 0)[0][0] for epoch in range(count)]
    return [(real, fake) for real, fake in made]


def test_two_of_a_kind_are_changed_to_the_same_picture(tmp_path: Path) -> None:
    for real, fake in pairs(scene_crops(tmp_path, 1.5, 1.5)):
        assert np.array_equal(real, fake)


@pytest.mark.parametrize(("room_real", "room_fake"), [(1.5, 1.0), (1.0, 1.5), (1.8, 1.2)])
def test_two_crops_of_one_face_show_as_much_around_it_whatever_room_they_have(
    tmp_path: Path, room_real: float, room_fake: float
) -> None:
    folder, records = scene_crops(tmp_path / "framed", room_real, room_fake)
    framed = [np.abs(real - fake).mean() for real, fake in pairs((folder, records))]
    unframed = [
        np.abs(real - fake).mean() for real, fake in pairs((folder, [replace(r, room_ratio=1.5) for r in records]))
    ]
    assert max(framed) < 15
    assert np.median(framed) < 0.2 * np.median(unframed)


def test_faces_with_room_are_shown_with_all_of_it_or_closer_down_to_the_face(tmp_path: Path) -> None:
    """The face is dark and what is around it bright, so the light tells how much of that is seen."""
    folder, records = scene_crops(tmp_path, 2.0, 2.0)
    ring = np.full((74, 74, 3), 255, np.uint8)
    ring[21:53, 21:53] = 0  # 32 of the network's 64 px
    for known in records:
        save(folder / known.path, ring)
    around = [(real > 128).mean() for real, _ in pairs((folder, records), 60)]
    assert min(around) < 0.3
    assert max(around) > 0.7
    assert len([share for share in around if 0.3 <= share <= 0.7]) > 5


def test_a_face_without_room_is_never_enlarged_beyond_what_any_picture_is(tmp_path: Path) -> None:
    folder, records = scene_crops(tmp_path, 1.0, 1.0)
    dot = np.zeros((74, 74, 3), np.uint8)
    dot[25:49, 25:49] = 255
    for known in records:
        save(folder / known.path, dot)
    bright = [(real > 128).mean() for real, _ in pairs((folder, records))]
    assert max(bright) < 1.5 * (24 / 64) ** 2


# Who stands beside whom


def records_of(sizes: Sizes) -> list[Record]:
    return [
        record(f"{source}{label}{number}.png", label, source=source)
        for source, counts in sizes.items()
        for label, count in zip(("real", "fake"), counts, strict=True)
        for number in range(count)
    ]


def order_of(records: list[Record], share: float, seed: int = 0) -> list[tuple[Record, Record | None]]:
    order = paired_order(records, share, np.random.default_rng(seed))
    return [(records[real], None if fake is None else records[fake]) for real, fake in order]


def beside(sizes: Sizes, share: float, epochs: int = 20) -> dict[str, Counter[str]]:
    """Return how often fakes of which source, or self-blends, stand beside the real faces of each source."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(epochs):
        for real, fake in order_of(records_of(sizes), share, seed):
            found[real.source][SELF_BLEND if fake is None else fake.source] += 1
    return found


SHOWN: dict[str, tuple[Sizes, dict[str, float]]] = {
    # what there is; how often real faces of each source are shown in an epoch
    "one source": ({"a": (10, 10)}, {"a": 10}),
    "more fake": ({"a": (10, 40)}, {"a": 25}),
    "an odd number": ({"a": (4, 3)}, {"a": 4}),
    "one of each label": ({"a": (1, 1)}, {"a": 1}),
    "a small source": ({"a": (100, 100), "b": (4, 4)}, {"a": 86.7, "b": 17.3}),
    "one label a source": ({"a": (50, 0), "b": (0, 8), "c": (2, 2)}, {"a": 25.8, "c": 5.2}),
    "a source of one picture": ({"a": (16, 16), "b": (1, 0)}, {"a": 13.6, "b": 3.4}),
}


@pytest.mark.parametrize(("sizes", "shown"), SHOWN.values(), ids=SHOWN)
def test_an_epoch_is_as_long_as_the_set_and_nearly_even_over_sources(sizes: Sizes, shown: dict[str, float]) -> None:
    records = records_of(sizes)
    order = order_of(records, 0.25)
    assert len(order) == math.ceil(len(records) / 2)
    assert {real.label for real, _ in order} == {"real"}
    assert {fake.label for _, fake in order if fake} <= {"fake"}
    for source, times in shown.items():
        of_it = Counter(real.path for real, _ in order if real.source == source)
        assert of_it.total() == pytest.approx(times, abs=2)
        each = [of_it[known.path] for known in records if (known.source, known.label) == (source, "real")]
        assert max(each) - min(each) <= 1  # none is shown twice more than its like


BESIDE: dict[str, tuple[Sizes, float, dict[str, set[str]]]] = {
    # what there is, the share of self-blends, and what stands beside the real faces of each source
    "its own fakes": ({"a": (9, 9), "b": (9, 3)}, 0, {"a": {"a"}, "b": {"b"}}),
    "and self-blends": ({"a": (9, 9), "b": (9, 3)}, 0.25, {"a": {"a", SELF_BLEND}, "b": {"b", SELF_BLEND}}),
    "self-blends alone": ({"a": (9, 9), "gan": (0, 9)}, 1, {"a": {SELF_BLEND}}),
    "no fakes of its own": ({"stock": (9, 0), "gan": (0, 9)}, 0.25, {"stock": {"gan", SELF_BLEND}}),
    "not even self-blends": ({"stock": (9, 0), "gan": (0, 9)}, 0, {"stock": {"gan"}}),
    "fakes without reals beside both": (
        {"a": (9, 9), "stock": (9, 0), "gan": (0, 9)},
        0.25,
        {"a": {"a", "gan", SELF_BLEND}, "stock": {"gan", SELF_BLEND}},
    ),
    "others' fakes where there are no lone ones": (
        {"a": (9, 9), "stock": (9, 0)},
        0.25,
        {"a": {"a", SELF_BLEND}, "stock": {"a", SELF_BLEND}},
    ),
    "sources of one picture": (
        {"a": (9, 9), "photo": (1, 0), "swap": (0, 1)},
        0.25,
        {"a": {"a", "swap", SELF_BLEND}, "photo": {"swap", SELF_BLEND}},
    ),
}


@pytest.mark.parametrize(("sizes", "share", "wanted"), BESIDE.values(), ids=BESIDE)
def test_what_stands_beside_a_real_face(sizes: Sizes, share: float, wanted: dict[str, set[str]]) -> None:
    assert {source: set(kinds) for source, kinds in beside(sizes, share).items()} == wanted


def test_a_source_without_fakes_is_not_told_by_the_fakes_of_others() -> None:
    """Else a network would learn that stock photos are real, for all it ever sees of fakes is something else."""
    kinds = beside({"a": (20, 20), "stock": (20, 0), "gan": (0, 20)}, 0.1)
    assert kinds["stock"][SELF_BLEND] > kinds["a"][SELF_BLEND] > 0
    assert kinds["stock"][SELF_BLEND] >= 0.4 * kinds["stock"].total()


def test_a_source_with_fakes_is_mostly_shown_with_its_own() -> None:
    kinds = beside({"a": (20, 20), "gan": (0, 200)}, 0.1)
    assert kinds["a"]["a"] > 2 * kinds["a"]["gan"] > 0


def test_a_fake_of_its_own_group_is_preferred() -> None:
    records = [replace(known, group=known.path[-5]) for known in records_of({"a": (6, 6), "gan": (0, 6)})]
    own = [known for known in records if known.source == "a"]
    for seed in range(5):
        assert all(fake is not None and fake.group == real.group for real, fake in order_of(own, 0, seed))
        assert all(fake is None or fake.group == real.group for real, fake in order_of(own, 0.5, seed))


def test_a_generator_is_shown_after_a_real_face_of_every_source() -> None:
    kinds = beside({"a": (9, 9), "b": (9, 9), "stock": (9, 0), "gan": (0, 9)}, 0.25)
    assert all(kinds[source]["gan"] > 0 for source in ("a", "b", "stock"))


def test_the_random_numbers_alone_decide() -> None:
    records = records_of({"a": (9, 9), "stock": (9, 0), "gan": (0, 9)})
    assert order_of(records, 0.25, 1) == order_of(records, 0.25, 1)
    assert order_of(records, 0.25, 1) != order_of(records, 0.25, 2)
