"""How a JPEG is decoded: by OpenCV as Pillow would, smaller where that is enough, and never more than there is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetell.edge.errors import ImageError
from facetell.edge.images import REDUCTIONS, Picture, read_image

from ..pictures import encoded, four_colours

EXIF_ORIENTATION = 0x0112


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 47), (7, 300)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_can_be_decoded_smaller(reduction: int, width: int, height: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    picture = Picture(encoded(four_colours(height, width), "JPEG", quality=95, exif=exif))
    upright = (height, width) if orientation == 1 else (width, height)
    assert (picture.height_px, picture.width_px) == upright
    assert picture.decode(reduction).shape == (*(-(-side // reduction) for side in upright), 3)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_opencv_decodes_as_pillow_does(
    reduction: int, subsampling: int, progressive: bool, mode: str, astronaut: np.ndarray
) -> None:
    options = {} if mode == "L" else {"subsampling": subsampling}
    content = encoded(Image.fromarray(astronaut).convert(mode), "JPEG", progressive=progressive, **options)
    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, (image.width // reduction, image.height // reduction))
        expected = np.array(image.convert("RGB"))
    assert (Picture(content).decode(reduction) == expected).all()


def test_other_formats_come_whole() -> None:
    assert Picture(encoded(four_colours(), "PNG")).decode(8).shape == four_colours().shape


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_jpeg_that_does_not_end_is_refused_at_any_size(share: float, astronaut: np.ndarray) -> None:
    """With a thumbnail before it, whose end is no end of the picture's."""
    thumbnail = encoded(Image.fromarray(astronaut).resize((64, 64)), "JPEG")
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    content = encoded(astronaut, "JPEG", exif=exif, progressive=share > 0.5)
    for reduction in REDUCTIONS:
        assert Picture(content).decode(reduction).ndim == 3
        with pytest.raises(ImageError, match="truncated"):
            Picture(content[: int(len(content) * share)]).decode(reduction)


def test_heic_is_read_where_the_extra_is_installed(astronaut: np.ndarray) -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(astronaut)).save(file, quality=90)
    read = read_image(file.getvalue())
    assert np.abs(read.astype(int) - astronaut).mean() < 4


def test_heic_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facetell.edge.images.formats", lambda: ["JPEG", "PNG"])
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        read_image(b"\0\0\0\x18ftypheic" + bytes(100))


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    content = encoded(four_colours(), "JPEG", progressive=True)
    scan = content[content.index(b"\xff\xda") : content.index(b"\xff\xda", content.index(b"\xff\xda") + 2)]
    with pytest.raises(ImageError, match=r"scans of .* a JPEG has about ten"):
        read_image(content[:-2] + scan * 300 + content[-2:])


def test_what_only_looks_like_scans_is_read() -> None:
    start_of_scan = b"\xff\xda"
    jpeg = encoded(four_colours(), "JPEG")
    comment = b"\xff\xfe" + (2 + 600).to_bytes(2, "big") + start_of_scan * 300
    for content in (
        jpeg + b"....ftypmp42" + start_of_scan * 300,  # a film behind its first picture, as phones write them
        jpeg[:2] + comment + jpeg[2:],
        *(encoded(Image.new("RGB", (64, 64), (255, 218, 255)), name) for name in ("BMP", "TIFF")),
    ):
        assert content.count(start_of_scan) > 200
        assert read_image(content).ndim == 3


def test_a_huge_jpeg_of_endless_scans_is_refused_as_well(tmp_path: Path) -> None:
    content = encoded(four_colours(), "JPEG", progressive=True)
    scan = content[content.index(b"\xff\xda") : content.index(b"\xff\xda", content.index(b"\xff\xda") + 2)]
    path = tmp_path / "huge.jpg"
    for scans, read in [(1, True), (300, False)]:
        path.write_bytes(content[:-2] + scan * scans + content[-2:])
        with path.open("r+b") as file:
            file.truncate(70 * 2**20)  # more than is held in memory
        if read:
            assert read_image(path).ndim == 3
        else:
            with pytest.raises(ImageError, match=r"scans of .* a JPEG has about ten"):
                read_image(path)
