"""Archives come from strangers: a dangerous one is refused as a whole, a damaged member is only left out."""

import stat
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import pytest

from facetell.edge.errors import DatasetError
from facetell.pipeline.merge import merge
from facetell.pipeline.sources import open_sources

from ..pictures import pattern, save


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        open_sources([tmp_path / "nowhere"])


def archive(path: Path, member: zipfile.ZipInfo | str | None = None, content: bytes = b"") -> Path:
    """Write a zip with a real and a fake picture, and one member more."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for seed, name in enumerate(("real/a.png", "fake/b.png")):
            file.writestr(name, cv2.imencode(".png", pattern(seed, 48))[1].tobytes())
        if member is not None:
            file.writestr(member, content)
    return path


def link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("real/link.jpg")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("member", "content", "reason"),
    [
        ("../outside.jpg", b"", "points outside"),
        ("real/../../outside.jpg", b"", "points outside"),
        ("/etc/outside.jpg", b"", "points outside"),
        ("..\\outside.jpg", b"", "points outside"),
        ("real\\..\\..\\outside.jpg", b"", "points outside"),
        ("C:\\outside.jpg", b"", "points outside"),
        (link(), b"/etc/passwd", "is a link"),
        ("real/bomb.jpg", bytes(8 * 2**20), "like a zip bomb"),
        (".", b"", "refused"),
    ],
    ids=["..", "a/../..", "absolute", "backslash ..", "a\\..\\..", "drive", "symlink", "bomb", "no name"],
)
def test_a_dangerous_archive_is_refused(tmp_path: Path, member, content: bytes, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        open_sources([archive(tmp_path / "data.zip", member, content)])


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "data.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flags in the first entry of the central directory
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is encrypted"):
        open_sources([path])


@pytest.mark.parametrize("kept_share", [0, 0.3, 0.9])
def test_half_an_archive_is_refused(tmp_path: Path, kept_share: float) -> None:
    content = archive(tmp_path / "data.zip").read_bytes()
    (tmp_path / "data.zip").write_bytes(content[: int(kept_share * len(content))])
    with pytest.raises(DatasetError, match="not a readable zip"):
        open_sources([tmp_path / "data.zip"])


def test_another_file_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a readable zip"):
        open_sources([save(tmp_path / "picture.jpg", pattern(0))])


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("damage", ["data", "header"])
def test_a_damaged_member_is_listed_and_the_others_come_in(tmp_path: Path, compression: int, damage: str) -> None:
    path = archive(tmp_path / "data.zip")
    with zipfile.ZipFile(path, "a", compression) as file:
        file.writestr("real/damaged.png", cv2.imencode(".png", pattern(3, 48))[1].tobytes())
        start = file.getinfo("real/damaged.png").header_offset
    content = bytearray(path.read_bytes())
    first = start + 30 + len("real/damaged.png")  # behind the local header
    if damage == "header":
        content[start : start + 4] = b"----"
    else:
        content[first : first + 200] = bytes(byte ^ 0xFF for byte in content[first : first + 200])
    path.write_bytes(content)
    report = merge(open_sources([path]), tmp_path / "out")
    assert Counter(record.label for record in report.records) == {"real": 1, "fake": 1}
    assert [(skipped.path, skipped.kind) for skipped in report.skipped] == [("data/real/damaged.png", "unreadable")]
