from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("imagehash")

from facetell.edge.conditions import jpeg
from facetell.edge.errors import DatasetError
from facetell.edge.manifest import Record, read_manifest, split_sha256, write_manifest
from facetell.pipeline.split import near_duplicate_clusters, perceptual_hash, split
from facetell.tools.cli import run as facetell

from ..pictures import pattern, record, save

SPLITS = ("train", "validation", "test")


def crops_of(folder: Path, records: Iterable[Record], pictures: dict[str, np.ndarray] | None = None) -> Path:
    """Write a crops folder; every picture looks different unless it is given."""
    records = list(records)
    for number, known in enumerate(records):
        save(folder / known.path, (pictures or {}).get(known.path, pattern(number)))
    write_manifest(folder, records)
    return folder


def both(count: int, **known: str) -> list[Record]:
    """Return as many real as fake records, each a group of its own."""
    source = known.get("source", "set")
    split_name = known.get("stated_split", "")
    return [
        record(f"{label}/{source}{split_name}{i}.png", label, **known)
        for label in ("real", "fake")
        for i in range(count)
    ]


def shares(records: Iterable[Record]) -> dict[str, float]:
    counts = Counter(known.split for known in records)
    return {part: counts[part] / counts.total() for part in SPLITS}


def split_of(folder: Path) -> dict[str, str]:
    return {known.path: known.split for known in read_manifest(folder)}


@pytest.mark.parametrize(
    ("ratios", "wanted"),
    [
        ((0.7, 0.15, 0.15), {"train": 0.7, "validation": 0.15, "test": 0.15}),
        ((0.5, 0.25, 0.25), {"train": 0.5, "validation": 0.25, "test": 0.25}),
        ((0.8, 0.2, 0.0), {"train": 0.8, "validation": 0.2, "test": 0.0}),
    ],
)
def test_the_ratios_are_kept(tmp_path: Path, ratios: tuple[float, ...], wanted: dict[str, float]) -> None:
    report = split(crops_of(tmp_path, both(40)), ratios=ratios)
    assert shares(report.records) == pytest.approx(wanted, abs=0.03)


def test_labels_and_sources_are_spread_alike(tmp_path: Path) -> None:
    report = split(crops_of(tmp_path, both(40, source="one") + both(20, source="two")))
    for source in ("one", "two"):
        for label in ("real", "fake"):
            stratum = [r for r in report.records if (r.source, r.label) == (source, label)]
            assert shares(stratum) == pytest.approx({"train": 0.7, "validation": 0.15, "test": 0.15}, abs=0.1)


def test_a_small_source_does_not_change_the_ratios_of_the_others(tmp_path: Path) -> None:
    report = split(crops_of(tmp_path, both(40, source="large") + both(3, source="small")))
    large = [known for known in report.records if known.source == "large"]
    assert shares(large) == pytest.approx({"train": 0.7, "validation": 0.15, "test": 0.15}, abs=0.1)


@pytest.mark.parametrize("stated", ["", "train"])
def test_a_source_of_two_pictures_does_not_forbid_the_split(tmp_path: Path, stated: str) -> None:
    small = both(1, source="small", stated_split=stated)
    report = split(crops_of(tmp_path, both(40, source="large") + small))
    assert {known.split for known in report.records} == set(SPLITS)
    assert not stated or {known.split for known in report.records if known.source == "small"} == {stated}


def test_a_group_is_never_torn(tmp_path: Path) -> None:
    records = [replace(known, group=f"person {i % 17}") for i, known in enumerate(both(40))]
    report = split(crops_of(tmp_path, records))
    sides = defaultdict(set)
    for known in report.records:
        sides[known.group].add(known.split)
    assert [group for group, parts in sides.items() if len(parts) > 1] == []
    assert {known.split for known in report.records} == set(SPLITS)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("saved as JPEG again", lambda picture: jpeg(picture, 70)),
        ("half the size", lambda picture: cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
        ("a little darker", lambda picture: (picture * 0.9).astype(np.uint8)),
    ],
)
def test_near_duplicates_stand_on_one_side(tmp_path: Path, name: str, changed) -> None:
    records = both(20)
    pictures = {known.path: pattern(number) for number, known in enumerate(records)}
    for known in records[::2]:
        copy = replace(known, path=known.path.replace(".png", "-copy.png"), group=f"copy of {known.path}")
        records.append(copy)
        pictures[copy.path] = changed(pictures[known.path])
    report = split(crops_of(tmp_path, records, pictures))
    where = split_of(tmp_path)
    copies = [path for path in where if "-copy" in path]
    assert len(copies) == 20
    assert [path for path in copies if where[path] != where[path.replace("-copy", "")]] == []
    assert report.near_duplicates == 40


def test_different_pictures_are_no_near_duplicates(tmp_path: Path) -> None:
    assert split(crops_of(tmp_path, both(20))).near_duplicates == 0


def test_a_stated_split_stays(tmp_path: Path) -> None:
    records = [known for part in SPLITS for known in both(4, stated_split=part)]
    report = split(crops_of(tmp_path, records), seed=3)
    assert [known.split for known in report.records] == [known.stated_split for known in records]


def test_a_train_part_without_validation_gives_one_up(tmp_path: Path) -> None:
    records = both(34, stated_split="train") + both(6, stated_split="test")
    report = split(crops_of(tmp_path, records))
    assert {known.split for known in report.records if known.stated_split == "test"} == {"test"}
    trained = shares(known for known in report.records if known.stated_split == "train")
    assert trained == pytest.approx({"train": 0.7 / 0.85, "validation": 0.15 / 0.85, "test": 0}, abs=0.04)


def test_a_stated_source_and_a_free_one_go_together(tmp_path: Path) -> None:
    stated = [known for part in SPLITS for known in both(3, source="stated", stated_split=part)]
    report = split(crops_of(tmp_path, stated + both(20, source="free")))
    assert all(known.split == known.stated_split for known in report.records if known.source == "stated")
    assert {known.split for known in report.records if known.source == "free"} == set(SPLITS)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("train", "test", ["excluded", "test"]),
        ("train", "validation", ["excluded", "validation"]),
        ("validation", "test", ["excluded", "test"]),
        ("train", "train", ["train", "train"]),
    ],
)
@pytest.mark.parametrize("leak", ["the same group", "the same picture"])
def test_a_leak_between_stated_splits_is_excluded(
    tmp_path: Path, first: str, second: str, kept: list[str], leak
) -> None:
    group = "person" if leak == "the same group" else None
    pair = [
        record(f"real/{name}.png", "real", stated_split=part, group=group or name)
        for name, part in (("one", first), ("two", second))
    ]
    pictures = {known.path: pattern(1000) for known in pair} if leak == "the same picture" else {}
    records = pair + [known for part in SPLITS for known in both(3, stated_split=part)]
    split(crops_of(tmp_path, records, pictures))
    where = split_of(tmp_path)
    assert [where["real/one.png"], where["real/two.png"]] == kept
    assert list(where.values()).count("excluded") == kept.count("excluded")


# Reserved sources


def test_whole_sources_are_reserved_whatever_they_state(tmp_path: Path) -> None:
    stated = [known for part in SPLITS for known in both(3, source="stated", stated_split=part)]
    records = stated + both(10, source="free") + both(20, source="rest")
    report = split(crops_of(tmp_path, records), reserve=["stated", "free"])
    parts = {source: {r.split for r in report.records if r.source == source} for source in ("stated", "free", "rest")}
    assert parts == {"stated": {"reserved"}, "free": {"reserved"}, "rest": set(SPLITS)}
    assert split_of(tmp_path) == {known.path: known.split for known in report.records}


def test_reserving_changes_nothing_for_the_other_sources_and_can_be_taken_back(tmp_path: Path) -> None:
    crops_of(tmp_path, both(20, source="kept") + both(20, source="reserved"))
    before = split(tmp_path).records
    reserved = split(tmp_path, reserve={"reserved"}).records
    assert [r.split for r in reserved if r.source == "kept"] == [r.split for r in before if r.source == "kept"]
    assert split(tmp_path).records == before


@pytest.mark.parametrize("leak", ["the same group", "the same picture"])
@pytest.mark.parametrize("stated", SPLITS)
def test_a_picture_that_shares_something_with_a_reserved_one_is_excluded(
    tmp_path: Path, leak: str, stated: str
) -> None:
    group = "person" if leak == "the same group" else None
    kept = record("real/kept.png", "real", source="kept", stated_split=stated, group=group or "kept")
    reserved = record("real/reserved.png", "real", source="new", group=group or "reserved")
    pictures = {r.path: pattern(1000) for r in (kept, reserved)} if leak == "the same picture" else {}
    others = [known for part in SPLITS for known in both(3, source="kept", stated_split=part)]
    split(crops_of(tmp_path, [kept, reserved, *others, *both(3, source="new")], pictures), reserve=["new"])
    where = split_of(tmp_path)
    assert (where["real/kept.png"], where["real/reserved.png"]) == ("excluded", "reserved")
    assert list(where.values()).count("excluded") == 1


STOCK = [known for known in both(6, source="stock") if not known.is_fake]
GAN = [known for known in both(6, source="gan") if known.is_fake]

RESERVED_IN_VAIN = {
    # what is to be reserved -> what is said
    "no source": (["elsewhere"], "has no source elsewhere to reserve; wanted one of a, b, gan, stock"),
    "reals alone": (["stock"], "have no fake pictures, and thresholds need both labels"),
    "fakes alone": (["gan"], "have no real pictures, and thresholds need both labels"),
    "everything": (["a", "b", "stock", "gan"], r"no real pictures are left for train \(0 excluded .* 52 reserved\)"),
    "all that has fakes": (["a", "b", "gan"], "no fake pictures are left for train"),
}


@pytest.mark.parametrize(("reserve", "said"), RESERVED_IN_VAIN.values(), ids=RESERVED_IN_VAIN)
def test_what_cannot_be_reserved_is_named_and_nothing_changed(tmp_path: Path, reserve: list[str], said: str) -> None:
    crops_of(tmp_path, both(10, source="a") + both(10, source="b") + STOCK + GAN)
    before = (tmp_path / "manifest.csv").read_bytes()
    with pytest.raises(DatasetError, match=said):
        split(tmp_path, reserve=reserve)
    assert (tmp_path / "manifest.csv").read_bytes() == before


def test_a_source_of_reals_and_one_of_fakes_can_be_reserved_together(tmp_path: Path) -> None:
    report = split(crops_of(tmp_path, both(10, source="a") + STOCK + GAN), reserve=["stock", "gan"])
    assert Counter(known.label for known in report.records if known.split == "reserved") == {"real": 6, "fake": 6}


def test_the_command_reserves_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crops_of(tmp_path, both(10, source="a") + both(4, source="b") + both(3, source="c"))
    assert facetell(["split", str(tmp_path), "--reserve", "b", "--reserve", "c"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["b", "fake", "reserved", "4"] in lines
    assert ["c", "real", "reserved", "3"] in lines
    assert facetell(["split", str(tmp_path), "--reserve", "d"]) == 1
    assert capsys.readouterr().err == f"Error: {tmp_path} has no source d to reserve; wanted one of a, b, c\n"


def test_a_split_that_leaks_away_is_an_error(tmp_path: Path) -> None:
    """Every validation picture shares its group with one of the test part."""
    records = [
        replace(known, group=known.path.rpartition("/")[2].removeprefix(f"set{part}"))
        for part in ("validation", "test")
        for known in both(4, stated_split=part)
    ]
    crops_of(tmp_path, records + both(8, stated_split="train"))
    before = (tmp_path / "manifest.csv").read_bytes()
    with pytest.raises(DatasetError, match=r"no real pictures are left for validation \(8 excluded"):
        split(tmp_path)
    assert (tmp_path / "manifest.csv").read_bytes() == before


def test_a_test_part_alone_can_be_split(tmp_path: Path) -> None:
    report = split(crops_of(tmp_path, both(4, stated_split="test")))
    assert {known.split for known in report.records} == {"test"}


def test_the_same_seed_gives_the_same_split(tmp_path: Path) -> None:
    one, other = (split(crops_of(tmp_path / name, both(30)), seed=5) for name in ("one", "other"))
    assert one.records == other.records
    assert one.sha256 == other.sha256 == split_sha256(one.records)


def test_another_seed_gives_another_split(tmp_path: Path) -> None:
    crops_of(tmp_path, both(30))
    assert split(tmp_path, seed=1).sha256 != split(tmp_path, seed=2).sha256


@pytest.mark.parametrize("stated", ["", "train"])
def test_splitting_again_changes_nothing(tmp_path: Path, stated: str) -> None:
    crops_of(tmp_path, both(30, stated_split=stated))
    split(tmp_path, seed=4)
    before = (tmp_path / "manifest.csv").read_bytes()
    split(tmp_path, seed=4)
    assert (tmp_path / "manifest.csv").read_bytes() == before


@pytest.mark.parametrize(
    "records",
    [both(1), [replace(known, group=f"person {i % 2}") for i, known in enumerate(both(20))]],
    ids=["two pictures", "two persons"],
)
def test_too_few_groups_are_an_error(tmp_path: Path, records: list[Record]) -> None:
    crops_of(tmp_path, records)
    before = (tmp_path / "manifest.csv").read_bytes()
    with pytest.raises(DatasetError, match="too few"):
        split(tmp_path)
    assert (tmp_path / "manifest.csv").read_bytes() == before


def test_the_counts_are_those_of_the_manifest(tmp_path: Path) -> None:
    report = split(crops_of(tmp_path, both(20)))
    on_disk = Counter((known.source, known.label, known.split) for known in read_manifest(tmp_path))
    assert report.counts() == on_disk


@pytest.mark.parametrize("flipped_bits", [0, 1, 6, 12, 13, 30])
@pytest.mark.parametrize("max_bits", [0, 5, 12])
def test_clusters_are_those_of_comparing_everything(flipped_bits: int, max_bits: int) -> None:
    rng = np.random.default_rng(flipped_bits)
    hashes = rng.random((60, 256)) < 0.5
    near = hashes[rng.integers(0, 60, 60)].copy()
    for row in near:
        row[rng.choice(256, flipped_bits, replace=False)] ^= True
    hashes = np.concatenate([hashes, near])
    assert partition(near_duplicate_clusters(hashes, max_bits)) == partition(brute_force(hashes, max_bits))


def test_clusters_join_by_a_chain() -> None:
    hashes = np.zeros((3, 256), bool)
    hashes[1, :12] = True
    hashes[2, :24] = True
    assert len(set(near_duplicate_clusters(hashes, 12).tolist())) == 1
    assert len(set(near_duplicate_clusters(hashes[[0, 2]], 12).tolist())) == 2


def test_a_hash_has_256_bits() -> None:
    assert perceptual_hash(pattern(0)).shape == (256,)
    assert perceptual_hash(pattern(0)).dtype == bool


def brute_force(hashes: np.ndarray, max_bits: int) -> list[int]:
    clusters = list(range(len(hashes)))
    for one, other in combinations(range(len(hashes)), 2):
        if (hashes[one] != hashes[other]).sum() <= max_bits:
            clusters = [clusters[one] if number == clusters[other] else number for number in clusters]
    return clusters


def partition(clusters: Iterable[int]) -> set[frozenset[int]]:
    members = defaultdict(set)
    for index, number in enumerate(clusters):
        members[number].add(index)
    return {frozenset(indices) for indices in members.values()}


def test_thousands_of_equal_pictures_are_no_work() -> None:
    hashes = np.zeros((20_000, 256), bool)
    hashes[1::2, :100] = True
    clusters = near_duplicate_clusters(hashes)
    assert len(set(clusters[::2])) == len(set(clusters[1::2])) == 1
    assert len(set(clusters)) == 2
