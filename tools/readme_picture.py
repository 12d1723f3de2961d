"""Draws the README's picture: the samples, those for ports aside, with what the shipped model says of them.

Run it with: python -m facetell.tools.readme_picture samples docs/verdicts.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from ..edge.bundle import load_bundle
from ..edge.detector import Detector
from ..edge.images import read_image
from ..edge.results import DOUBTS

COLOURS = {"real": "#0072b2", "fake": "#d55e00", "uncertain": "#e6b800"}


def draw(samples: Path, output: Path) -> None:
    """Write one picture of the JPEGs in a folder, each face framed with its verdict and p_fake."""
    detector = Detector(load_bundle())
    paths = sorted(samples.glob("*.jpg"))
    rows: Any
    figure, rows = plt.subplots(2, -(-len(paths) // 2), figsize=(13, 7.4), layout="constrained")
    for axis in rows.flat:
        axis.axis("off")
    for axis, path in zip(rows.flat, paths, strict=False):
        image = read_image(path)
        axis.imshow(image)
        axis.set_title(path.name, fontsize=9)
        faces = detector.detect(image)
        for face in faces:
            x_min, y_min, x_max, y_max = face.box_xyxy
            colour = COLOURS[face.verdict]
            axis.add_patch(Rectangle((x_min, y_min), x_max - x_min, y_max - y_min, fill=False, lw=3, ec=colour))
            words = DOUBTS[face.doubt] if face.doubt else f"{face.verdict}  p_fake {face.p_fake:.2f}"
            axis.text(x_min, y_min - 8, words, color="white", fontsize=10, backgroundcolor=colour)
        if not faces:
            axis.text(12, 30, "no face", color="white", fontsize=10, backgroundcolor="#666666")
    figure.savefig(output, dpi=80, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
