"""Whether everything that a scan needs works on this machine, and what to install where it does not."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..edge.errors import FacetellError
from ..edge.latency import package_version, processor
from ..edge.runtime import RUNTIMES, installed_runtimes

_SAMPLE = Path(__file__).parent.parent / "samples" / "two_faces.jpg"
_TIMEOUT_S = 60
_SLOW_MS = 500


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    works: bool | None
    """None where it is missing, or does not work, and no scan of files needs it."""
    said: str
    advice: str = ""


def examine(model: Path) -> Iterator[Finding]:
    """Yield what is found, one thing after the other; each is tried in a process of its own, which may crash."""
    yield Finding("machine", True, f"{processor()}, Python {platform.python_version()}, {platform.platform()}")
    yield _opencv()
    yield from map(_runtime, RUNTIMES)
    yield _model(model)
    yield _speed(model)
    yield _heif()
    yield _camera()


def _opencv() -> Finding:
    worked, said = _tried("import cv2; print(cv2.__version__)")
    advice = "" if worked else "pip install --force-reinstall --no-deps opencv-python-headless==4.11.0.86"
    if "libGL" in said:
        advice += ", or: apt install libgl1"
    return Finding("OpenCV", worked, said, advice)


def _runtime(name: str) -> Finding:
    if name not in installed_runtimes():
        needed = not installed_runtimes() and name == "ai-edge-litert"
        return Finding(name, False if needed else None, "not installed", f"pip install {name}" if needed else "")
    worked, said = _tried(
        "from facetell.edge.bundle import load_bundle; from facetell.edge.runtime import TFLiteModel;"
        f"TFLiteModel(load_bundle().face_detector, {name!r}); print('works')"
    )
    version = package_version(name)
    advice = "" if worked else ("pip install 'numpy<2'" if "numpy" in said else f"pip install --force-reinstall {name}")
    return Finding(name, worked, f"{version} {said}".strip(), advice)


def _model(model: Path) -> Finding:
    from ..edge.bundle import load_bundle

    try:
        bundle = load_bundle(model)
    except FacetellError as error:
        return Finding("model", False, str(error), "name another with --model, or install facetell again")
    return Finding("model", True, f"{bundle.identity}, {', '.join(bundle.classifiers)}; every file as it was made")


def _speed(model: Path) -> Finding:
    """Scan a sample, and look whether it says what it always says."""
    code = (
        "import json, sys, time; from pathlib import Path; from facetell.edge.bundle import load_bundle;"
        "from facetell.edge.detector import Detector;"
        "detector = Detector(load_bundle(Path(sys.argv[1])));"
        "results = [detector.scan_file(Path(sys.argv[2])) for _ in range(5)];"
        "print(json.dumps([len(results[0].faces), detector.signed['precision'], detector.classifier.runtime,"
        "min(result.latency_ms or 0 for result in results)]))"
    )
    worked, said = _tried(code, str(model), str(_SAMPLE))
    if not worked:
        return Finding("scan", False, said, "see what is said above")
    faces, precision, runtime, latency_ms = json.loads(said)
    told = f"{faces} of 2 faces found in {latency_ms:.0f} ms, {precision} on {runtime}"
    advice = "close what else is running" if latency_ms > _SLOW_MS else ""
    return Finding("scan", faces == 2, told, advice)


def _heif() -> Finding:
    worked, said = _tried("import pillow_heif; print(pillow_heif.__version__)")
    if worked:
        return Finding("HEIC", True, f"read by pillow-heif {said}")
    return Finding("HEIC", None, "not read", "pip install pillow-heif")


def _devices() -> list[str]:
    """Return what may be cameras."""
    return sorted(str(path) for path in Path("/dev").glob("video*")) if sys.platform == "linux" else ["0"]


def _camera() -> Finding:
    devices = _devices()
    if not devices:
        return Finding("camera", None, "none", "plug one in; for a Raspberry Pi's own: apt install python3-picamera2")
    # The first that gives a picture; none has to: a Raspberry Pi's codecs, say, are such devices, too.
    code = """
import sys
from facetell.edge.camera import Camera
from facetell.edge.errors import SourceError
reasons = []
for name in sys.argv[1:]:
    try:
        camera = Camera(name)
    except SourceError as error:
        reasons.append(str(error))
        continue
    height, width = camera.newest(0, 1).image.shape[:2]
    camera.close()
    sys.exit(print(f"{name}: {width} x {height}"))
sys.exit(reasons[0])
"""
    worked, said = _tried(code, *devices)
    return Finding("camera", worked or None, said, "" if worked else "for cameras, see docs/raspberry-pi.md")


def _tried(code: str, *arguments: str) -> tuple[bool, str]:
    """Return whether some Python runs, and the last line it says."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"hangs for more than {_TIMEOUT_S} s"
    said = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip().splitlines()
    if done.returncode < 0:
        return False, f"crashes (signal {-done.returncode})"
    return done.returncode == 0, said[-1] if said else f"exit status {done.returncode}"
