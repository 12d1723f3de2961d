import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mediapipe")

from facetell.edge.bundle import Bundle
from facetell.edge.crops import MARGIN_RATIO, MIN_FACE_SCORE, CropSettings, read_crop_settings
from facetell.edge.errors import DatasetError
from facetell.edge.faces import FaceFinder, crop_face, largest_face, resize_face
from facetell.edge.images import read_image
from facetell.edge.manifest import read_manifest
from facetell.pipeline.crop import crop
from facetell.pipeline.merge import merge
from facetell.pipeline.sources import open_sources

from ..pictures import pattern, save, tree

PRE_CROPPED = CropSettings(pre_cropped=True)


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A merged data set of 24 pictures that are taken for face crops."""
    raw = tmp_path_factory.mktemp("patterns") / "raw"
    for seed in range(24):
        save(raw / ("real" if seed % 2 else "fake") / f"{seed}.png", pattern(seed, 80))
    merge(open_sources([raw]), raw.parent / "dataset")
    return raw.parent / "dataset"


@pytest.fixture(scope="module")
def undisturbed(patterns: Path) -> Path:
    crop(patterns, patterns.parent / "undisturbed", PRE_CROPPED, workers=1)
    return patterns.parent / "undisturbed"


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """A merged data set of a picture of one face and one of two, the right one larger."""
    raw = tmp_path_factory.mktemp("groups") / "raw"
    save(raw / "real" / "one.png", read_image(samples / "real_astronaut.jpg"))
    left, right = np.hsplit(read_image(samples / "two_faces.jpg"), 2)
    smaller = np.zeros_like(right)
    smaller[:480, :410] = np.asarray(Image.fromarray(right).resize((410, 480)))
    save(raw / "fake" / "two.png", np.hstack([smaller, left]))
    merge(open_sources([raw]), raw.parent / "dataset")
    return raw.parent / "dataset"


def test_crops_are_square_pngs_of_256_px(crops: Path) -> None:
    records = read_manifest(crops)
    assert len(records) == 24
    for known in records:
        with Image.open(crops / known.path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (256, 256))
        assert (known.width, known.height) == (256, 256)
        assert known.path.startswith(f"{known.label}/")


def test_crops_carry_what_is_known_of_their_pictures(work: Path, crops: Path) -> None:
    pictures = {known.sha256: known for known in read_manifest(work / "dataset")}
    for known in read_manifest(crops):
        of = pictures[known.sha256]
        assert (known.label, known.source, known.group) == (of.label, of.source, of.group)
        assert Path(known.path).stem == Path(of.path).stem


def test_crops_are_what_the_edge_cuts(work: Path, crops: Path, bundle: Bundle) -> None:
    finder = FaceFinder(bundle.face_detector, min_score=MIN_FACE_SCORE)
    paths = {known.sha256: work / "dataset" / known.path for known in read_manifest(work / "dataset")}
    for known in read_manifest(crops):
        image = read_image(paths[known.sha256])
        box = largest_face(finder.find(image)).box_xyxy
        wanted = crop_face(image, box, size_px=256, margin_ratio=MARGIN_RATIO, surround_ratio=256 / 224)
        difference = np.abs(read_image(crops / known.path).astype(int) - wanted)
        assert difference.max() <= 8
        assert difference.mean() < 0.5


def test_a_picture_without_a_face_is_reported_not_guessed(work: Path, crops: Path, samples: Path) -> None:
    coffee = {known.path for known in read_manifest(work / "dataset")} - {
        known.path.replace(".png", ".jpg") for known in read_manifest(crops)
    }
    assert len(coffee) == 1
    assert np.array_equal(
        read_image(work / "dataset" / coffee.pop()), read_image(work / "raw/training_real/coffee.jpg")
    )
    assert (crops / "skipped.csv").read_text().splitlines()[1:] == [
        f"{known.path},no face found"
        for known in read_manifest(work / "dataset")
        if not (crops / known.path).with_suffix(".png").exists()
    ]


def test_the_settings_stand_beside_the_crops(crops: Path) -> None:
    assert read_crop_settings(crops) == CropSettings(input_size_px=224, margin_ratio=1.0, faces="largest")


@pytest.mark.parametrize(("faces", "count"), [("largest", 1), ("all", 2)])
def test_the_largest_face_or_all_of_them(tmp_path: Path, groups: Path, faces: str, count: int) -> None:
    records, skipped = crop(groups, tmp_path / "crops", CropSettings(faces=faces, margin_ratio=1.3), workers=1)
    assert skipped == []
    fakes = [known for known in records if known.is_fake]
    assert len(records) == count + 1
    assert len({known.path for known in fakes}) == len(fakes) == count
    assert len({(known.sha256, known.group) for known in fakes}) == 1
    (of,) = (known for known in read_manifest(groups) if known.is_fake)
    halves = np.hsplit(read_image(groups / of.path), 2)
    sides = [side_of(read_image(tmp_path / "crops" / known.path), halves) for known in fakes]
    assert set(sides) == ({"right"} if faces == "largest" else {"left", "right"})


def side_of(crop_pixels: np.ndarray, halves: list[np.ndarray]) -> str:
    """Return the half of a picture whose colours a crop has."""
    means = [half[half.sum(axis=2) > 0].mean(axis=0) for half in halves]
    distances = [np.abs(crop_pixels.mean(axis=(0, 1)) - mean).sum() for mean in means]
    return ("left", "right")[int(np.argmin(distances))]


def test_pre_cropped_pictures_are_only_resized(patterns: Path, undisturbed: Path) -> None:
    for of, known in zip(read_manifest(patterns), read_manifest(undisturbed), strict=True):
        wanted = resize_face(read_image(patterns / of.path), size_px=256)
        assert np.array_equal(read_image(undisturbed / known.path), wanted)


def test_the_crops_do_not_depend_on_the_workers(tmp_path: Path, patterns: Path, undisturbed: Path) -> None:
    crop(patterns, tmp_path / "crops", PRE_CROPPED, workers=2)
    assert tree(tmp_path / "crops") == tree(undisturbed)


def test_cropping_again_changes_nothing(crops: Path, work: Path) -> None:
    before = tree(crops)
    records, skipped = crop(work / "dataset", crops, CropSettings())
    assert tree(crops) == before
    assert (len(records), len(skipped)) == (24, 1)


STOPPED_AT_9 = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with Ctrl-C ignored
import os, sys
from pathlib import Path
from facetell.edge.crops import CropSettings
from facetell.pipeline.crop import crop

def progress(done, total):
    if done == 9:
        os.kill(os.getpid(), int(sys.argv[3]))

crop(Path(sys.argv[1]), Path(sys.argv[2]), CropSettings(pre_cropped=True), workers=1, progress=progress)
"""


@pytest.mark.parametrize("torn", [False, True], ids=["whole journal", "torn journal"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on(tmp_path: Path, patterns: Path, undisturbed: Path, number: int, torn: bool) -> None:
    output = tmp_path / "crops"
    stop(patterns, output, number)
    journal = output / "crop.partial.jsonl"
    assert len(journal.read_text().splitlines()) == 9
    assert not (output / "manifest.csv").exists()
    if torn:
        journal.write_text(journal.read_text()[:-20])
    started_at: list[int] = []
    crop(patterns, output, PRE_CROPPED, workers=1, progress=lambda done, total: started_at.append(done))
    assert started_at[0] == 9 - torn
    assert tree(output) == tree(undisturbed)


def test_a_killed_run_leaves_no_process_behind(tmp_path: Path, patterns: Path) -> None:
    group = stop(patterns, tmp_path / "crops", signal.SIGKILL, clean_up=False)
    try:
        deadline = time.monotonic() + 10
        while is_alive(group) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not is_alive(group)
    finally:
        if is_alive(group):
            os.killpg(group, signal.SIGKILL)


def stop(dataset: Path, output: Path, number: int, *, clean_up: bool = True) -> int:
    """Crop in a process group of its own that is sent a signal after 9 pictures, and return the group's id."""
    nowhere = subprocess.DEVNULL
    arguments = [sys.executable, "-c", STOPPED_AT_9, str(dataset), str(output), str(int(number))]
    process = subprocess.Popen(arguments, stdout=nowhere, stderr=nowhere, start_new_session=True)
    assert process.wait(60) == -number
    if clean_up and is_alive(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    return process.pid


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (CropSettings(), "settings pre_cropped was True, is False"),
        (replace(PRE_CROPPED, margin_ratio=1.5), "settings margin_ratio was 1.0, is 1.5"),
        (replace(PRE_CROPPED, input_size_px=96), "settings input_size_px was 224, is 96"),
    ],
    ids=["not pre-cropped", "margin", "size"],
)
def test_other_settings_do_not_go_over_it(
    patterns: Path, undisturbed: Path, settings: CropSettings, named: str
) -> None:
    before = tree(undisturbed)
    with pytest.raises(DatasetError, match=named):
        crop(patterns, undisturbed, settings)
    assert tree(undisturbed) == before


def test_other_pictures_do_not_go_over_it(work: Path, crops: Path, undisturbed: Path) -> None:
    before = tree(undisturbed)
    with pytest.raises(DatasetError, match="pictures_sha256 was "):
        crop(work / "dataset", undisturbed, PRE_CROPPED)
    assert tree(undisturbed) == before


def test_another_folder_is_not_touched(tmp_path: Path, patterns: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match="something else"):
        crop(patterns, tmp_path, PRE_CROPPED)
    assert tree(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("exists", [False, True], ids=["new", "empty"])
def test_without_a_face_of_one_label_nothing_is_left(tmp_path: Path, samples: Path, exists: bool) -> None:
    save(tmp_path / "raw" / "real" / "grey.png", np.full((80, 80, 3), 128, np.uint8))
    save(tmp_path / "raw" / "fake" / "face.png", read_image(samples / "real_astronaut.jpg"))
    merge(open_sources([tmp_path / "raw"]), tmp_path / "dataset")
    output = tmp_path / "new" / "crops"
    if exists:
        output.mkdir(parents=True)
    with pytest.raises(DatasetError, match="no face was found in any real picture"):
        crop(tmp_path / "dataset", output, CropSettings(), workers=1)
    assert not output.exists()


def test_a_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="facetell merge"):
        crop(tmp_path, tmp_path / "crops", PRE_CROPPED)


def test_a_picture_that_was_damaged_since_is_skipped(tmp_path: Path, patterns: Path) -> None:
    for name, content in tree(patterns).items():
        target = tmp_path / "dataset" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content[:100] if name == read_manifest(patterns)[0].path else content)
    records, skipped = crop(tmp_path / "dataset", tmp_path / "crops", PRE_CROPPED, workers=1)
    assert len(records) == 23
    assert [path for path, _ in skipped] == [read_manifest(patterns)[0].path]


@pytest.mark.parametrize("content", [None, "{}", json.dumps({"settings": {"size": 3}}), "no json"])
def test_settings_of_another_folder_are_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "crop.json").write_text(content)
    with pytest.raises(DatasetError, match="not a crops folder"):
        read_crop_settings(tmp_path)
