"""Small data that the tests make themselves: portraits that differ from each other, and pictures of nothing at all.

The builders of datasets, crops and runs do nothing a second time, so that two folders of tests share one of each.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from facetell.edge.cut import centre
from facetell.edge.images import read_image
from facetell.edge.manifest import Record, read_manifest

SAMPLES = Path(__file__).parent.parent / "samples"

FACES = {
    "real": {"real_astronaut.jpg": (225, 131, 96), "real_grace_hopper.jpg": (269, 244, 194)},
    "fake": {
        "fake_astronaut_with_hoppers_face.jpg": (230, 130, 93),
        "fake_hopper_with_astronauts_face.jpg": (265, 241, 197),
    },
}
"""Label -> sample -> centre and side of its face in pixels."""

TURNS = {"real": (-34, -22, -10, 2, 14, 26), "fake": (-29, -17, -5, 7, 19, 31)}
"""Degrees; a few of them change half of a perceptual hash, and the face is still found."""

PORTRAITS_PER_LABEL = 12


RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)

VIDEO_SIZE = (320, 240)


def four_colours(height: int = 32, width: int = 48) -> np.ndarray:
    """A picture that no turn or flip maps onto itself: red, green over blue, white."""
    image = np.zeros((height, width, 3), np.uint8)
    rows, columns = height // 2, width // 2
    image[:rows, :columns], image[:rows, columns:] = RED, GREEN
    image[rows:, :columns], image[rows:, columns:] = BLUE, WHITE
    return image


def turned(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture turned clockwise as a whole, on black, and the (2, 3) matrix that takes points there."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    cos, sin = np.abs(matrix[0, :2])
    size = (round(width * cos + height * sin), round(width * sin + height * cos))
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    by_pixel_centres = matrix + np.array([[0, 0, row[:2].sum() / 2 - 0.5] for row in matrix])
    return cv2.warpAffine(image, by_pixel_centres, size), matrix


def encoded(image: Image.Image | np.ndarray, format: str, **options) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def write_video(path: Path, frames: list[np.ndarray], code: str = "mp4v", fps: float = 10.0) -> Path:
    """Write frames (H, W, 3) uint8 RGB."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, (width, height))
    assert writer.isOpened(), code
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def portraits(label: str) -> Iterator[np.ndarray]:
    """Yield 12 portraits (320, 320, 3) uint8 RGB of one label, no two of them near-duplicates."""
    for sample, (x, y, side) in FACES[label].items():
        picture = read_image(SAMPLES / sample)
        for number, degrees in enumerate(TURNS[label]):
            matrix = cv2.getRotationMatrix2D((x, y), degrees, 320 / (2.2 * side))
            matrix[:, 2] += 160 - x, 160 - y
            turned = cv2.warpAffine(picture, matrix, (320, 320), borderMode=cv2.BORDER_REFLECT_101)
            tinted = np.clip(turned * (1, 1 - 0.03 * number, 0.8 + 0.05 * number), 0, 255).astype(np.uint8)
            yield tinted[:, ::-1] if number % 2 else tinted


def write_portraits(raw: Path) -> Path:
    """Write all portraits and one picture without a face in the layout training_real/, training_fake/."""
    for label in FACES:
        for number, picture in enumerate(portraits(label)):
            save(raw / f"training_{label}" / f"{label}_{number:02}.jpg", picture)
    save(raw / "training_real" / "coffee.jpg", read_image(SAMPLES / "no_face_coffee.jpg"))
    return raw


def pattern(seed: int, size_px: int = 160) -> np.ndarray:
    """Return a picture of coloured spots, (S, S, 3) uint8 RGB, that looks like no other seed's."""
    spots = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return cv2.resize(spots, (size_px, size_px), interpolation=cv2.INTER_CUBIC)


def save(path: Path, picture: np.ndarray, **options: int) -> Path:
    """Write a picture, the ending naming the format, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return path


def fill(root: Path, names: list[str], first_seed: int = 0) -> dict[str, bytes]:
    """Write a picture under each name, no two the same, and return their bytes."""
    for seed, name in enumerate(names, start=first_seed):
        save(root / name, pattern(seed, 48))
    return tree(root)


def raw_patterns(folder: Path, real: int = 6, fake: int = 6, below: str = "") -> Path:
    """Write a raw folder of so many patterns of each label, no two alike."""
    for number, (label, count) in enumerate({"real": real, "fake": fake}.items()):
        for seed in range(count):
            save(folder / below / label / f"{seed}.png", pattern(1000 * number + seed, 96))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def zipped(folder: Path, prefix: str = "", compression: int = zipfile.ZIP_STORED) -> Path:
    """Pack what is in a folder into the zip of its name beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in tree(folder).items():
            archive.writestr(prefix + name, content)
    return path


def record(path: str, label: str, **known: str) -> Record:
    """Return a record of a 160 px picture; what is not given is the same for all, or as for a picture by itself."""
    values = {"source": "set", "group": path, "split": known.get("stated_split", ""), "sha256": path} | known
    return Record(path=path, label=label, width=160, height=160, **values)


def tiny_crops(work: Path) -> Path:
    """Return a folder of 24 face crops of the portraits, split."""
    from facetell.edge.crops import CropSettings
    from facetell.pipeline.crop import crop
    from facetell.pipeline.merge import merge
    from facetell.pipeline.sources import open_sources
    from facetell.pipeline.split import split

    if not (work / "raw").exists():
        write_portraits(work / "raw")
    merge(open_sources([work / "raw"]), work / "dataset")
    crop(work / "dataset", work / "crops", CropSettings(), workers=2)
    if not any(known.split for known in read_manifest(work / "crops")):
        split(work / "crops")
    return work / "crops"


def warm_weights(path: Path, crops: Path, size_px: int) -> Path:
    """Write random backbone weights whose batch norms know the crops, so that what comes out differs by picture."""
    import keras

    from facetell.pipeline.backbones import BACKBONE_LAYER, build_network

    keras.utils.set_random_seed(1)
    backbone: Any = build_network("none").get_layer(BACKBONE_LAYER)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    images = [centre(read_image(crops / known.path), size_px) for known in read_manifest(crops)]
    backbone(np.stack(images).astype(np.float32), training=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    backbone.save_weights(path)
    return path


def tiny_run(work: Path) -> Path:
    """Return the folder of a finished and evaluated training on tiny_crops."""
    from facetell.pipeline.evaluate import evaluate
    from facetell.pipeline.train import TrainSettings, train

    crops = tiny_crops(work)
    settings = TrainSettings("cnn", epochs=6, batch_size=8, learning_rate=0.01, self_blend_share=0)
    train(crops, work / "run", settings, h5=True)
    if not (work / "run" / "evaluation-test").exists():
        evaluate(work / "run", work / "run" / "evaluation-test")
    return work / "run"


def tiny_bundle(work: Path) -> Path:
    """Return the bundle of tiny_run."""
    from facetell.convert.card import CardSettings
    from facetell.convert.export import export, from_run

    run = tiny_run(work)
    if not (run / "bundle").exists():
        settings = CardSettings("tiny", license="for tests", data_notes="Two portraits, turned.")
        export(from_run(run), run / "bundle", settings)
    return run / "bundle"
