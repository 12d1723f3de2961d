"""Makes the pictures in samples/: public-domain portraits, and fakes that we make of them ourselves.

Run it with: python -m facetell.tools.make_samples samples
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import matplotlib.cbook
import numpy as np
import skimage.data
from mediapipe.python.solutions.face_mesh import FaceMesh
from PIL import Image

from ..edge.images import read_image

_EXIF_ORIENTATION, _TURNED_RIGHT = 0x0112, 6
_JPEG_QUALITY = 92
_RIM_PX = 16

_WALL = (800, 1200)

_HEADS = {
    "real_astronaut": (225, 131, 211),
    "real_grace_hopper": (268, 242, 427),
    "fake_astronaut_with_hoppers_face": (225, 131, 211),
    "fake_hopper_with_astronauts_face": (268, 242, 427),
    "photographer": (245, 120, 154),
}
"""Middle x and y and side of the part of a portrait that a print shows."""

_PRINTS = [
    ("real_astronaut", 215, 230, 340, -4),
    ("fake_hopper_with_astronauts_face", 545, 205, 260, 6),
    ("real_grace_hopper", 815, 200, 230, -25),
    ("fake_astronaut_with_hoppers_face", 1055, 190, 200, 12),
    ("real_grace_hopper", 130, 590, 200, 90),
    ("real_astronaut", 370, 600, 190, 28),
    ("fake_astronaut_with_hoppers_face", 590, 470, 150, -14),
    ("photographer", 800, 545, 260, 3),
    ("real_astronaut", 1020, 430, 120, -8),
    ("real_grace_hopper", 1125, 600, 150, -40),
    ("fake_hopper_with_astronauts_face", 600, 660, 116, 4),
    ("real_astronaut", 985, 720, 90, 5),
    ("real_grace_hopper", 490, 735, 76, -3),
]
"""Portrait, middle x and y, side, degrees clockwise."""


def make_samples(folder: Path) -> None:
    """Write all samples into a folder."""
    astronaut = skimage.data.astronaut()
    hopper = read_image(Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    _save(folder / "real_astronaut.jpg", astronaut)
    _save(folder / "real_grace_hopper.jpg", hopper)
    _save(folder / "fake_astronaut_with_hoppers_face.jpg", swap_face(hopper, astronaut))
    _save(folder / "fake_hopper_with_astronauts_face.jpg", swap_face(astronaut, hopper))
    portrait = cv2.resize(astronaut[:300, 80:336], (512, 600), interpolation=cv2.INTER_CUBIC)
    _save(folder / "two_faces.jpg", np.hstack([portrait, swap_face(astronaut, hopper)]))
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = _TURNED_RIGHT
    _save(folder / "real_turned_by_exif.jpg", np.rot90(astronaut), exif=exif)
    _save(folder / "no_face_coffee.jpg", skimage.data.coffee())
    portraits = {name: read_image(folder / f"{name}.jpg") for name in _HEADS if name != "photographer"}
    _save(folder / "group.jpg", wall(portraits | {"photographer": np.dstack([skimage.data.camera()] * 3)}))
    ports = folder / "ports"
    ports.mkdir(exist_ok=True)
    enlarged = cv2.resize(astronaut[40:220, 120:320], (1000, 900), interpolation=cv2.INTER_CUBIC)
    _save(ports / "enlarged.jpg", enlarged)
    _save(ports / "grey_at_the_edge.jpg", cv2.cvtColor(hopper[:571, 200:], cv2.COLOR_RGB2GRAY))
    _save(ports / "small_on_transparency.png", medallion(astronaut[20:240, 115:335]), optimize=True)


def swap_face(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return target (H, W, 3) uint8 RGB with the face of source: the classic swap, as early deepfakes did it.

    The source's face mesh is laid over the target's by the best similarity, its colours are moved to the target's mean
    and spread, and it is blended in under a softened hull.
    """
    from_points, to_points = _face_mesh(source), _face_mesh(target)
    matrix, _ = cv2.estimateAffine2D(from_points, to_points)
    height, width = target.shape[:2]
    moved = cv2.warpAffine(source, matrix, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
    hull = cv2.convexHull(to_points.astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), hull, (255,))
    inside = mask > 0
    base = target.astype(np.float32)
    moved = (moved - moved[inside].mean(axis=0)) / moved[inside].std(axis=0)
    moved = moved * base[inside].std(axis=0) + base[inside].mean(axis=0)
    softness = int(np.ptp(to_points[:, 0]) / 16)
    kernel = np.ones((2 * softness + 1,) * 2, np.uint8)
    alpha = cv2.GaussianBlur(cv2.erode(mask, kernel), (0, 0), softness / 2).astype(np.float32)[:, :, None] / 255
    return np.clip(alpha * moved + (1 - alpha) * base, 0, 255).astype(np.uint8)


def medallion(portrait: np.ndarray) -> np.ndarray:
    """Return a (S, S, 3) uint8 RGB portrait, round with a soft rim, on an empty (480, 640, 4) uint8 RGBA picture."""
    size = portrait.shape[0]
    from_centre = np.abs(np.arange(size) + 0.5 - size / 2)
    opacity = np.clip((size / 2 - np.hypot(from_centre, from_centre[:, None])) / _RIM_PX, 0, 1)
    round_portrait = np.dstack([portrait, (255 * opacity).astype(np.uint8)])
    round_portrait[opacity == 0] = 0
    picture = np.zeros((480, 640, 4), np.uint8)
    picture[240 : 240 + size, 380 : 380 + size] = round_portrait
    return picture


def wall(portraits: dict[str, np.ndarray]) -> np.ndarray:
    """Return a wall (800, 1200, 3) uint8 RGB on which prints of portraits hang, large and small, straight and not."""
    y, x = np.indices(_WALL)
    light = 1.05 - 0.25 * ((x / 1200 - 0.4) ** 2 + (y / 800 - 0.4) ** 2)
    image = light[..., None] * (176, 168, 152)
    for name, x, y, side, degrees in _PRINTS:
        head_x, head_y, head_side = _HEADS[name]
        scale, frame = side / head_side, max(4, side // 24)
        smoothing = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        scaled = cv2.resize(portraits[name], None, fx=scale, fy=scale, interpolation=smoothing)
        matrix = cv2.getRotationMatrix2D((head_x * scale, head_y * scale), -degrees, 1)
        matrix[:, 2] += x - head_x * scale, y - head_y * scale
        picture = cv2.warpAffine(scaled, matrix, _WALL[::-1], borderMode=cv2.BORDER_REPLICATE)
        shadow = cv2.GaussianBlur(_paper(x + frame / 2, y + frame / 2, side + 2 * frame, degrees), (0, 0), frame)
        image *= 1 - 0.45 * shadow[..., None]
        image += _paper(x, y, side + 2 * frame, degrees)[..., None] * ((247, 245, 240) - image)
        image += _paper(x, y, side, degrees)[..., None] * (picture - image)
    return image.clip(0, 255).astype(np.uint8)


def _paper(x: float, y: float, side: float, degrees: float) -> np.ndarray:
    """Return how much of each of the wall's pixels a square sheet covers, 0..1, by its middle."""
    corners = cv2.boxPoints(((x, y), (side, side), degrees)).round().astype(np.int32)
    return cv2.fillConvexPoly(np.zeros(_WALL, np.uint8), corners, (255,), cv2.LINE_AA) / 255


def _face_mesh(image: np.ndarray) -> np.ndarray:
    """Return the 468 points (468, 2) float32 xy in pixels of the one face in a picture."""
    with FaceMesh(static_image_mode=True, max_num_faces=1) as mesh:
        found: Any = mesh.process(image)
    points = found.multi_face_landmarks[0].landmark
    height, width = image.shape[:2]
    return np.array([(point.x * width, point.y * height) for point in points], np.float32)


def _save(path: Path, image: np.ndarray, **options: Any) -> None:
    Image.fromarray(image).save(path, quality=_JPEG_QUALITY, **options)


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]))
