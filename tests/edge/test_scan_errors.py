"""What goes wrong in facetell scan: a row for a bad file, one line for the rest, and a status that says which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facetell.edge.runtime import installed_runtimes

from ..program import FAILED, SOME_FAILED, USAGE, Scan, one_error


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture", "not a picture"),
        (b"", "not a picture"),
        (b"\xff\xd8\xff\xe0", "not a picture"),
        (None, "no such file"),
    ],
    ids=["text", "empty", "cut", "dangling link"],
)
def test_a_bad_file_is_a_row_and_status_3(content: bytes | None, reason: str, scan: Scan, photos: Path) -> None:
    if content is None:
        (photos / "bad.jpg").symlink_to(photos / "nowhere.jpg")
    else:
        (photos / "bad.jpg").write_bytes(content)
    assert scan(photos, "--format", "jsonl") == SOME_FAILED
    good, bad = (json.loads(line) for line in scan.out.splitlines())
    assert (good["status"], bad["status"], bad["verdict"]) == ("ok", "error", "error")
    assert (bad["p_fake"], bad["faces"]) == (None, [])
    assert reason in bad["error"]
    assert "1 error" in scan.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.jpg"], "missing.jpg does not exist"),
        (["pictures", "missing.jpg"], "missing.jpg does not exist"),
        (["a" * 300], "a" * 300),
        (["no\nsuch\x1b[31m.jpg"], ".jpg does not exist"),
        (["empty"], "no pictures in"),
        (["pictures", "-o", "taken.csv"], "taken.csv exists already"),
        (["pictures", "-o", "empty"], "is a folder; name a file in it"),
        (["pictures", "-o", "taken.csv/out.csv"], "cannot write"),
        (["pictures", "-o", "taken.csv/below/out.csv"], "cannot write"),
        (["pictures", "-o", "a" * 300 + ".csv"], "a" * 300),
        (["empty", "-o", "out.csv"], "no pictures in"),
        (["empty", "-o", "out.json"], "no pictures in"),
        (["pictures", "--model", "missing"], "there is no model at"),
        (["pictures", "--model", "empty"], "is not a bundle"),
        (["pictures", "--model", "taken.csv"], "is not a bundle"),
        (["pictures", "--model", "a" * 300], "a" * 300),
    ],
    ids=lambda value: " ".join(value)[:40].encode("unicode_escape").decode() if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], reason: str, scan: Scan, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    Path("taken.csv").write_text("mine")
    before = sorted(Path().rglob("*"))
    assert scan(*arguments) == FAILED
    assert reason in one_error(scan.err)
    assert sorted(Path().rglob("*")) == before
    assert Path("taken.csv").read_text() == "mine"


def test_a_changed_model_is_one_line_that_names_the_file(scan: Scan, photos: Path, bundle_copy: Path) -> None:
    (bundle_copy / "int8.tflite").write_bytes(b"changed")
    assert scan(photos, "--model", bundle_copy) == FAILED
    assert "int8.tflite differs" in one_error(scan.err)


@pytest.mark.skipif("ai-edge-litert" in installed_runtimes(), reason="ai-edge-litert is installed here")
def test_a_missing_runtime_is_one_line(scan: Scan, photos: Path) -> None:
    assert scan(photos, "--runtime", "ai-edge-litert") == FAILED
    assert "pip install ai-edge-litert" in one_error(scan.err)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x", "--no-such-option"],
        ["x", "--threshold", "1.5"],
        ["x", "--threshold", "half"],
        ["x", "--format", "xml"],
        ["x", "--precision", "int4"],
        ["x", "-o"],
        ["x", "-o", "out.xml"],
        ["x", "--threshold", "nan"],
        ["x", "-0"],
        ["x", "--workers", "0"],
        ["x", "--max-megapixels", "0"],
        ["x", ""],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(arguments: list[str], scan: Scan) -> None:
    assert scan(*arguments) == USAGE
    assert scan.out == ""
    assert scan.err.count("Error: ") == 1
