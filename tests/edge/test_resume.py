"""A scan whose file grows: what is in it after a kill, a full disk or Ctrl-C, and how it is gone on with."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetell.edge.bundle import DEFAULT_BUNDLE, MANIFEST
from facetell.edge.files import GrowingFile
from facetell.tools.cli import run

from ..pictures import write_video
from ..program import DONE, FACETELL, FAILED, SOME_FAILED, USAGE

FILES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("many")
    Image.fromarray(astronaut).save(folder / "00.jpg")
    for number in range(1, FILES):
        (folder / f"{number:02}.jpg").hardlink_to(folder / "00.jpg")
    return folder


def scanning(*arguments: str | Path, **options) -> subprocess.Popen[str]:
    return subprocess.Popen([*FACETELL, "scan", *arguments], stderr=subprocess.PIPE, text=True, **options)


def names(file: Path) -> list[str]:
    return [Path(json.loads(line)["path"]).name for line in file.read_text().splitlines()]


def all_names() -> list[str]:
    return [f"{number:02}.jpg" for number in range(FILES)]


def test_a_scan_killed_again_and_again_ends_with_every_row_once(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    rng = np.random.default_rng(0)
    for _ in range(3):
        process = scanning(folder, "-q", "-o", output, "--resume")
        known = output.stat().st_size if output.exists() else 0
        deadline = time.monotonic() + 60
        while not output.exists() or output.stat().st_size == known:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.communicate()
    assert run(["scan", str(folder), "-q", "-o", str(output), "--resume"]) == DONE
    assert names(output) == all_names()


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a scan that nothing stopped."""
    output = tmp_path_factory.mktemp("whole") / "whole.jsonl"
    assert run(["scan", str(folder), "-q", "-o", str(output)]) == DONE
    return output.read_text().splitlines(keepends=True)


@pytest.mark.parametrize("rows", [0, 1, 7, FILES])
@pytest.mark.parametrize("torn", [0, 1, 100])
def test_only_what_has_no_whole_row_is_scanned(
    rows: int, torn: int, whole: list[str], folder: Path, tmp_path: Path, capsys
) -> None:
    begun = "".join(whole[:rows]) + whole[min(rows, FILES - 1)][:torn]
    (tmp_path / "out.jsonl").write_text(begun)
    assert run(["scan", str(folder), "-o", str(tmp_path / "out.jsonl"), "--resume"]) == DONE
    assert names(tmp_path / "out.jsonl") == all_names()
    assert (tmp_path / "out.jsonl").read_text().startswith("".join(whole[:rows]))
    assert f"Scanned {FILES - rows} file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--threshold", "0.5"], "rule was fake from"),
        (["--careful"], "rule was fake from"),
        (["--pre-cropped"], "rule was fake from"),
        (["--max-megapixels", "200"], "up to 200 megapixels"),
        (["--precision", "int8"], "precision was float32, is int8"),
        (["--model", "ANOTHER"], "model was facetell-default"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_results_made_otherwise_are_not_gone_on_with(
    options: list[str], reason: str, folder: Path, tmp_path: Path, capsys
) -> None:
    output, another = tmp_path / "out.jsonl", shutil.copytree(DEFAULT_BUNDLE, tmp_path / "another")
    manifest = json.loads((another / MANIFEST).read_text())
    (another / MANIFEST).write_text(json.dumps(manifest | {"version": "of tomorrow"}))
    assert run(["scan", str(folder / "00.jpg"), "-o", str(output), "--precision", "float32"]) == DONE
    before = output.read_bytes()
    options = [str(another) if option == "ANOTHER" else option for option in options]
    precision = [] if "--precision" in options else ["--precision", "float32"]
    assert run(["scan", str(folder), "-o", str(output), "--resume", *precision, *options]) == FAILED
    assert reason in capsys.readouterr().err
    assert output.read_bytes() == before


def test_a_video_is_not_gone_on_with_at_another_rate(portrait: np.ndarray, tmp_path: Path, capsys) -> None:
    video, output = write_video(tmp_path / "clip.mp4", [portrait] * 5), tmp_path / "out.jsonl"
    assert run(["scan", str(video), "-o", str(output)]) == DONE
    assert run(["scan", str(video), "-o", str(output), "--resume"]) == DONE
    assert run(["scan", str(video), "-o", str(output), "--resume", "--fps", "2"]) == FAILED
    assert "fps was 5.0, is 2.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ['{"path": "a.jpg"}\n', "[" * 100_000 + "\n", "path,status\n", "[]\n", "\n", "\0\0\n", '{"path"\n']
)
def test_what_is_no_result_is_not_gone_on_with(content: str, folder: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out.jsonl").write_text(content)
    assert run(["scan", str(folder), "-o", str(tmp_path / "out.jsonl"), "--resume"]) == FAILED
    assert "no result of a scan" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == content


@pytest.mark.parametrize("content", ['{"my": "only copy"}', "precious notes", '{"path', '{"path": "a.jpg", "sta'])
def test_only_what_begins_like_a_row_is_cut_off(content: str, folder: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out.jsonl").write_text(content)
    is_torn = content.startswith('{"path')
    assert run(["scan", str(folder / "00.jpg"), "-o", str(tmp_path / "out.jsonl"), "--resume"]) == (0 if is_torn else 1)
    assert ((tmp_path / "out.jsonl").read_text() == content) == (not is_torn)


def test_files_that_failed_before_are_not_forgotten(folder: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    output = tmp_path / "out.jsonl"
    assert run(["scan", str(tmp_path / "bad.jpg"), "-o", str(output)]) == SOME_FAILED
    assert (
        run(["scan", str(tmp_path / "bad.jpg"), str(folder / "00.jpg"), "-o", str(output), "--resume"]) == SOME_FAILED
    )
    assert "1 was done before, 1 of them not read" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked on Windows")
def test_two_scans_do_not_write_one_file(folder: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "out.jsonl"
    first = GrowingFile(output)
    first.write(b"")
    assert run(["scan", str(folder / "00.jpg"), "-o", str(output), "--resume"]) == FAILED
    assert "is being written by another scan" in capsys.readouterr().err
    first.close()


@pytest.mark.parametrize("output", [[], ["-o", "out.csv"], ["-o", "out.json"], ["-o", "-"]], ids=" ".join)
def test_only_a_file_of_jsonl_is_gone_on_with(output: list[str], folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["scan", str(folder), "--resume", *output]) == USAGE
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files on Windows")
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_full_disk_is_one_sentence_and_whole_rows(format: str, folder: Path, tmp_path: Path) -> None:
    def no_more_than_10_kB() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    output = tmp_path / f"out.{format}"
    process = scanning(folder, "-q", "-o", output, preexec_fn=no_more_than_10_kB)
    _, err = process.communicate(timeout=300)
    assert process.returncode == FAILED
    assert err.startswith("Error: cannot write")
    assert err.count("\n") == 1
    lines = output.read_text().splitlines(keepends=True)
    assert lines[-1].endswith("\n")
    assert 9_000 < len("".join(lines)) <= 10_000
    if format == "jsonl":
        assert run(["scan", str(folder), "-q", "-o", str(output), "--resume"]) == DONE
        assert names(output) == all_names()
