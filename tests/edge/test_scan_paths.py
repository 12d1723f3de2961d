"""Paths as they come to facetell scan, as arguments or on standard input: an odd name is only a name."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..program import DONE, FACETELL, Scan, scan_in_a_process


@pytest.mark.parametrize(
    ("end", "options", "name"),
    [("\n", [], "two_faces.jpg"), ("\r\n", [], "two_faces.jpg"), ("\0", ["-0"], "line\nbreak.jpg")],
    ids=["LF", "CRLF", "NUL"],
)
def test_paths_from_standard_input(end: str, options: list[str], name: str, samples: Path, tmp_path: Path) -> None:
    shutil.copy(samples / "two_faces.jpg", tmp_path / name)
    paths = f"{tmp_path / name}{end}{end}{samples / 'no_face_coffee.jpg'}{end}"
    done = scan_in_a_process(*options, "-", "--format", "jsonl", input=paths)
    assert done.returncode == DONE
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == [name, "no_face_coffee.jpg"]


def test_the_first_row_does_not_wait_for_the_last_path(samples: Path) -> None:
    with subprocess.Popen(
        [*FACETELL, "scan", "-", "-q", "--format", "jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{samples / 'two_faces.jpg'}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["status"] == "ok"
        process.stdin.close()
        assert process.stdout.read() == ""


ODD_NAMES = [
    *("Ünïcödé 顔 🙂.jpg", "with space.jpg", " leading.jpg", "quo'te\".jpg", "a,b;c.jpg", "-dash.jpg", "=1+1.jpg"),
    *("[x].jpg", "%s{}.jpg", "$HOME.jpg", "*.jpg", "no ending", "wrong.txt", "back\\slash.jpg"),
    *("a\u2028b.jpg", "a\x85b.jpg"),  # two lines to str.splitlines, one to a shell
]


@pytest.mark.parametrize("by_stdin", [False, True], ids=["argument", "stdin"])
def test_odd_names_are_only_names(
    by_stdin: bool, scan: Scan, astronaut_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [shutil.copy(astronaut_file, tmp_path / name) for name in ODD_NAMES]
    if by_stdin:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(map(str, paths)).encode())))
    rows = scan.rows(*(["-"] if by_stdin else paths))
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert {row["verdict"] for row in rows} == {rows[0]["verdict"]}


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 need Linux")
@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "table"])
@pytest.mark.parametrize("how", ["folder", "stdin", "output"])
def test_a_name_that_is_not_utf8_stops_nothing(format: str, how: str, photos: Path, tmp_path: Path) -> None:
    path = os.fsencode(photos) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).symlink_to(photos / "astronaut.jpg")
    output = ["-o", tmp_path / "out"] if how == "output" else []
    done = subprocess.run(
        [*FACETELL, "scan", "-" if how == "stdin" else photos, "--format", format, *output],
        input=path + b"\n" + os.fsencode(photos / "astronaut.jpg"),
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8:strict"},  # as on most desktops
    )
    assert done.returncode == DONE, done.stderr.decode()[-300:]
    text = (tmp_path / "out").read_bytes() if output else done.stdout
    assert b"caf" in text
    assert b"astronaut.jpg" in text or format == "table"  # which folds long paths
