"""A scan that is cut short, by Ctrl-C or by a reader that goes away, keeps what it has done."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..program import FACETELL, INTERRUPTED


def test_a_reader_that_goes_away_is_no_traceback(samples: Path) -> None:
    command = [*FACETELL, "scan", *[samples] * 5, "--format", "jsonl"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(30) != 0


@pytest.fixture
def many(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """More pictures than a test would wait for."""
    folder = tmp_path / "many"
    folder.mkdir()
    Image.fromarray(astronaut).save(tmp_path / "one.jpg")
    for number in range(5000):
        (folder / f"{number:04}.jpg").hardlink_to(tmp_path / "one.jpg")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
def test_ctrl_c_keeps_the_rows_so_far_on_standard_output(many: Path) -> None:
    process = subprocess.Popen(
        [*FACETELL, "scan", many, "--format", "jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    lines = [process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    lines += process.stdout.readlines()
    err = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == INTERRUPTED
    rows = [json.loads(line) for line in lines]
    assert [Path(row["path"]).name for row in rows] == [f"{number:04}.jpg" for number in range(len(rows))]
    assert len(rows) < 5000
    assert err.startswith(f"Stopped after {len(rows)} file")
    assert err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
@pytest.mark.parametrize("format", ["csv", "json", "jsonl"])
def test_ctrl_c_leaves_a_whole_file_of_the_rows_so_far(format: str, many: Path, tmp_path: Path) -> None:
    output = tmp_path / f"out.{format}"
    process = subprocess.Popen([*FACETELL, "scan", many, "-q", "-o", output], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not any(path.stat().st_size > len("[\n") for path in [*tmp_path.glob(".*.partial"), *tmp_path.glob("out.*")]):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)  # a file that is being written gives no other sign
    assert output.exists() == (format != "json")  # an array is whole at its end alone
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (INTERRUPTED, "")
    text = output.read_text()
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
    else:
        rows = json.loads(text) if format == "json" else [json.loads(line) for line in text.splitlines()]
    assert 1 <= len(rows) < 5000
    assert [Path(row["path"]).name for row in rows] == [f"{number:04}.jpg" for number in range(len(rows))]
    assert not list(tmp_path.glob(".*"))
