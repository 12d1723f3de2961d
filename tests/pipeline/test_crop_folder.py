"""The folder that crop fills: the same after a stop as without, with its settings, and written over nothing else."""

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

pytest.importorskip("mediapipe")

from facetell.edge.crops import CropSettings, read_crop_settings
from facetell.edge.errors import DatasetError
from facetell.edge.images import read_image
from facetell.edge.manifest import read_manifest
from facetell.pipeline.crop import crop
from facetell.pipeline.merge import merge
from facetell.pipeline.sources import open_sources
from facetell.tools.cli import run as facetell

from ..pictures import save, tree

PRE_CROPPED = CropSettings(pre_cropped=True)


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
        (replace(PRE_CROPPED, margin_ratio=1.3), "settings margin_ratio was 1.5, is 1.3"),
        (replace(PRE_CROPPED, min_face_px=64), "settings min_face_px was 48.0, is 64"),
        (replace(PRE_CROPPED, input_size_px=96), "settings input_size_px was 224, is 96"),
    ],
    ids=["not pre-cropped", "margin", "face", "size"],
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


def test_the_settings_stand_beside_the_crops(crops: Path) -> None:
    assert read_crop_settings(crops) == CropSettings(224, margin_ratio=1.5, shown_ratio=1.3, min_face_px=48)


@pytest.mark.parametrize(
    ("options", "margin_ratio", "shown_ratio"),
    [(["--margin-ratio", "1.2"], 1.2, 1.2), (["--margin-ratio", "2", "--shown-ratio", "1.6"], 2.0, 1.6)],
)
def test_what_is_asked_for_is_cut_and_shown(
    tmp_path: Path, work: Path, crops: Path, options: list[str], margin_ratio: float, shown_ratio: float
) -> None:
    assert facetell(["crop", str(work / "dataset"), "-o", str(tmp_path / "crops"), *options]) == 0
    assert read_crop_settings(tmp_path / "crops") == CropSettings(
        224, margin_ratio=margin_ratio, shown_ratio=shown_ratio
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shown-ratio", "1.6"], "--shown-ratio 1.6 is more than the crop has: 1.5"),
        (["--pre-cropped", "--shown-ratio", "1.2"], "with --pre-cropped they are not"),
        (["--pre-cropped", "--margin-ratio", "1.2"], "with --pre-cropped they are not"),
    ],
)
def test_ratios_that_contradict_are_wrong_usage(
    tmp_path: Path, patterns: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert facetell(["crop", str(patterns), "-o", str(tmp_path / "crops"), *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "crops").exists()


def test_crops_of_an_earlier_version_are_to_be_made_again(tmp_path: Path) -> None:
    (tmp_path / "crop.json").write_text(json.dumps({"settings": {"input_size_px": 224, "margin_ratio": 1.5}}))
    with pytest.raises(DatasetError, match="made by an earlier facetell"):
        read_crop_settings(tmp_path)


@pytest.mark.parametrize("content", [None, "{}", json.dumps({"settings": {"shown_ratio": 1.3, "size": 3}}), "no json"])
def test_settings_of_another_folder_are_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "crop.json").write_text(content)
    with pytest.raises(DatasetError, match="not a crops folder"):
        read_crop_settings(tmp_path)
