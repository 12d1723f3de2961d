"""What facetell says on an emulated 64-bit Raspberry Pi OS (tools/arm64.sh), and on this machine.

Needs root, Debian and mmdebstrap; the first run fetches the emulated systems.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facetell.edge.bundle import PRECISIONS
from facetell.edge.runtime import installed_runtimes

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "arm64.sh"
CANNOT = 69  # the exit status of arm64.sh where it cannot run
RELEASES = {"bookworm": ("3.11.", "tflite-runtime"), "trixie": ("3.13.", "ai-edge-litert")}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="arm64.sh needs Linux")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def scan(*python: str | Path, precision: str, runtime: str) -> tuple[list[tuple[str, int]], np.ndarray, np.ndarray]:
    """Return how many faces the sample pictures have, each face's box (N, 4) and the p_fake (N,) of those scored."""
    options = ("--precision", precision, "--runtime", runtime, "--format", "jsonl")
    done = run(*python, "-m", "facetell.tools.cli", "scan", "samples", *options)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    faces = [face for result in results for face in result["faces"]]
    counts = [(result["path"], len(result["faces"])) for result in results]
    p_fake = [face["p_fake"] for face in faces if face["p_fake"] is not None]
    return counts, np.array([face["box_xyxy"] for face in faces]), np.array(p_fake)


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """A release of Debian that runs here."""
    done = run(SCRIPT, request.param, "true")
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return request.param


def test_its_python_and_runtime_are_those_of_raspberry_pi_os(release: str) -> None:
    version, runtime = RELEASES[release]
    code = (
        "import platform\nfrom facetell.edge.runtime import installed_runtimes\n"
        "print(platform.machine(), platform.python_version(), *installed_runtimes())"
    )
    machine, found, *runtimes = run(SCRIPT, release, "python3", "-c", code).stdout.split()
    assert (machine, runtimes) == ("aarch64", [runtime])
    assert found.startswith(version)


def test_what_a_command_writes_outside_the_folders_given_is_gone(release: str, tmp_path: Path) -> None:
    given, hidden = tmp_path / "given", tmp_path / "hidden"
    given.mkdir()
    hidden.touch()
    command = f"test -e {hidden} || echo unseen > {given}/file; echo gone > /file; exit 7"
    assert run(SCRIPT, "-b", given, release, "sh", "-c", command).returncode == 7
    assert (given / "file").read_text() == "unseen\n"
    assert run(SCRIPT, release, "test", "-e", "/file").returncode == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_raspberry_pi_says_what_this_machine_says(release: str, precision: str) -> None:
    _, runtime = RELEASES[release]
    is_here = runtime in installed_runtimes()
    counts, boxes, expected = scan(sys.executable, precision=precision, runtime=runtime if is_here else "auto")
    counts_there, boxes_there, p_fake = scan(SCRIPT, release, "python3", precision=precision, runtime=runtime)
    assert len(expected) >= 5
    assert counts_there == counts
    assert np.abs(boxes_there - boxes).max() <= 0.02
    # On Debian 13 a few faces, enlarged ones, differ by up to .0014, and the rest by nothing.
    assert np.median(np.abs(p_fake - expected)) <= 1e-4
    assert np.abs(p_fake - expected).max() <= 2e-3


@pytest.mark.parametrize("arguments", [[], ["bookworm"], ["bullseye", "true"], ["-b", "/nowhere", "bookworm", "true"]])
def test_a_wrong_call_of_the_script_is_told_the_right_one(arguments: list[str]) -> None:
    done = run(SCRIPT, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: arm64.sh")
