"""What is cut from pictures: the faces that MediaPipe finds, as the edge cuts them, and why some are skipped."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mediapipe")

from facetell.edge.blazeface import BlazeFace, letterbox
from facetell.edge.bundle import DEFAULT_BUNDLE, FACE_DETECTOR
from facetell.edge.crops import MARGIN_RATIO, CropSettings
from facetell.edge.cut import crop_face, resize_face
from facetell.edge.faces import Square, largest_face
from facetell.edge.finder import HINT_SCORE, Detect, FaceFinder
from facetell.edge.images import read_image
from facetell.edge.manifest import read_manifest
from facetell.pipeline.crop import crop, mediapipe_detect
from facetell.pipeline.merge import merge
from facetell.pipeline.sources import open_sources

from ..pictures import FACES, SAMPLES, save


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


# MediaPipe and the edge


@pytest.fixture(scope="module")
def blazeface() -> Detect:
    return BlazeFace((DEFAULT_BUNDLE / FACE_DETECTOR).read_bytes(), min_score=HINT_SCORE)


def patches(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield looks at a picture and at parts of it, near and far, upright, tilted, on the side and upside down."""
    height, width = image.shape[:2]
    for share in (1.3, 1, 0.6, 0.35):
        for x, y in ((0.5, 0.5), (0.4, 0.35), (0.6, 0.6)):
            for degrees in (0, 25, 90, 180, -90):
                yield letterbox(image, Square(x * width, y * height, share * max(height, width), degrees))


@pytest.mark.parametrize("change", ["as it is", "flipped", "small", "dark"])
def test_boxes_and_points_are_mediapipes(change: str, blazeface: Detect) -> None:
    """It gives boxes in whole pixels of an enlarged picture; of those that leave it, mediapipe_detect asks the edge."""
    theirs_of = mediapipe_detect()
    found = 0
    for path in sorted(SAMPLES.rglob("*.[jp][pn]g")):
        image = {
            "as it is": lambda image: image,
            "flipped": lambda image: np.ascontiguousarray(image[:, ::-1]),
            "small": lambda image: cv2.resize(image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA),
            "dark": lambda image: (image * 0.4).astype(np.uint8),
        }[change](read_image(path))
        for patch in patches(image):
            ours, theirs = blazeface(patch), theirs_of(patch)
            assert len(ours) == len(theirs), path.name
            for (one, score), (other, other_score) in zip(ours, theirs, strict=True):
                assert one[:2] == pytest.approx(other[:2], abs=0.25), path.name
                assert one[2:] == pytest.approx(other[2:], abs=0.01), path.name
                assert score == pytest.approx(other_score, abs=1e-4), path.name
            found += len(ours)
    assert found >= 300


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


def test_crops_are_what_the_edge_cuts(work: Path, crops: Path, blazeface: Detect) -> None:
    finder = FaceFinder(blazeface)
    paths = {known.sha256: work / "dataset" / known.path for known in read_manifest(work / "dataset")}
    tilts, differences = [], []
    for known in read_manifest(crops):
        image = read_image(paths[known.sha256])
        face = largest_face(finder.find(image))
        wanted = crop_face(
            image,
            face.box_xyxy,
            size_px=256,
            margin_ratio=MARGIN_RATIO,
            roll_degrees=face.roll_degrees,
            surround_ratio=256 / 224,
        )
        differences.append(np.abs(read_image(crops / known.path).astype(int) - wanted).mean())
        tilts.append(abs(face.roll_degrees))
    # Boxes differ by a quarter of a pixel of 128, and then a closer look may begin a whole pixel or degree beside.
    assert np.median(differences) < 4
    assert max(differences) < 20
    assert max(tilts) > 20  # so that upright crops were not all there is


REASONS = {
    "coffee": "no face found",
    "colour wheel": "may not be a face",
    "small": "face too small to judge",
    "grey": "no face found",
}


def hard_picture(name: str) -> np.ndarray:
    """Return a picture with no face that can be judged."""
    if name == "coffee":
        return read_image(SAMPLES / "no_face_coffee.jpg")
    if name == "colour wheel":  # the finder sees an eye or two in it
        return pytest.importorskip("skimage.data").colorwheel()
    if name == "small":
        (x, y, side), _ = FACES["real"].values()
        head = read_image(SAMPLES / "real_astronaut.jpg")[y - side : y + side, x - side : x + side]
        return cv2.resize(head, (72, 72), interpolation=cv2.INTER_AREA)
    return np.full((80, 80, 3), 128, np.uint8)


@pytest.mark.parametrize("faces", ["largest", "all"])
@pytest.mark.parametrize("name", REASONS)
def test_a_picture_without_a_face_to_judge_is_skipped_with_the_reason(tmp_path: Path, name: str, faces: str) -> None:
    save(tmp_path / "raw" / "real" / "hard.png", hard_picture(name))
    for label in ("real", "fake"):
        save(tmp_path / "raw" / label / "easy.png", read_image(SAMPLES / next(iter(FACES[label]))))
    merge(open_sources([tmp_path / "raw"]), tmp_path / "dataset")
    records, skipped = crop(tmp_path / "dataset", tmp_path / "crops", CropSettings(faces=faces), workers=1)
    assert len(records) == 2
    (hard,) = {known.path for known in read_manifest(tmp_path / "dataset")} - {
        known.path for known in read_manifest(tmp_path / "dataset") if known.sha256 in {r.sha256 for r in records}
    }
    assert skipped == [(hard, REASONS[name])]
    assert (tmp_path / "crops" / "skipped.csv").read_text().splitlines()[1:] == [f"{hard},{REASONS[name]}"]


@pytest.mark.parametrize(
    ("margin_ratio", "reach", "room_ratio"),
    [
        (1.5, 2.0, 1.5),  # there is room
        (1.0, 2.0, 1.0),
        (1.5, 0.6, 1.2),  # a tight picture, whose square shrinks to what there is
        (1.8, 0.8, 1.6),
        (1.0, 0.6, 1.0),
    ],
)
def test_room_is_what_the_picture_had(tmp_path: Path, margin_ratio: float, reach: float, room_ratio: float) -> None:
    """reach is how far the picture shows around the middle of the face, of the face's side."""
    for label, files in FACES.items():
        for name, (x, y, side) in files.items():
            half = round(reach * side)
            cut = read_image(SAMPLES / name)[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
            save(tmp_path / "raw" / label / name.replace(".jpg", ".png"), cut)
    merge(open_sources([tmp_path / "raw"]), tmp_path / "dataset")
    records, skipped = crop(
        tmp_path / "dataset", tmp_path / "crops", CropSettings(margin_ratio=margin_ratio), workers=1
    )
    assert (len(records), skipped) == (4, [])
    assert read_manifest(tmp_path / "crops") == records
    for known in records:
        assert known.room_ratio == pytest.approx(room_ratio, rel=0 if room_ratio == margin_ratio else 0.1)


def test_pre_cropped_pictures_have_no_more_room_than_they_show(undisturbed: Path) -> None:
    assert {known.room_ratio for known in read_manifest(undisturbed)} == {1.0}


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
