"""How fast facetell is on this machine: everything in turns, so that the ratios hold whatever else the machine does."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..edge.bundle import DEFAULT_BUNDLE, Bundle, load_bundle
from ..edge.detector import Detector
from ..edge.errors import SourceError
from ..edge.images import SUFFIXES, Picture, read_image
from ..edge.latency import processor
from ..edge.runtime import TFLiteModel, installed_runtimes
from ..edge.scan import expand_paths, scan_files

SAMPLES = Path(__file__).parent.parent / "samples"
"""Pictures that stand beside tools/ in a checkout and in an installation alike."""

_CLI = (sys.executable, "-m", "facetell.tools.cli")
_MAX_PICTURES = 50
_FILES_FOR_MEMORY = 500
_STARTS = 3
_ROUND_S = 1.5  # of scans with each number of workers
_GRAIN = 5.0  # standard deviation of the noise that makes an enlarged picture as hard to decode as a photo

_PEAK_OF = (
    "import resource, subprocess, sys;"
    "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


@dataclass
class PictureTimes:
    """Milliseconds a picture, in one thread, the median over the rounds and the mean over the pictures."""

    pictures: int
    megapixels: float
    scan_ms: float
    """From the file to the verdict."""
    small_faces_off_ms: float
    """The same without the search for small faces."""
    full_decode_ms: float
    decode_ms: float
    """Of what scan decodes: a large JPEG only as large as its faces need."""
    find_ms: float
    crop_ms: float
    classify_ms: float
    limit_ms: float
    """What is decoded, and the two networks alone on what they are given."""
    naive_ms: float | None
    """The usual way: OpenCV, MediaPipe's solution, Keras' predict, picture by picture."""
    per_s_by_workers: dict[int, float]

    @property
    def share_of_limit(self) -> float:
        """How much of the speed that the networks and the decoder allow is reached."""
        return self.limit_ms / self.scan_ms

    @property
    def small_faces_ratio(self) -> float:
        """How many times as long a scan takes with the search for small faces as without it."""
        return self.scan_ms / self.small_faces_off_ms


@dataclass
class Report:
    """What was measured, and on what."""

    processor: str
    processors: int
    python: str
    model: str
    runtime: str
    precision: str
    sets: dict[str, PictureTimes] = field(default_factory=dict)
    invoke_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """Runtime -> precision -> one run of the classifier."""
    first_verdict_s: float = 0
    """From the start of the process."""
    peak_memory_mb: float = 0
    """Of a scan with a worker for each processor."""


def bench(
    images: Path | None,
    work: Path,
    *,
    model: Path = DEFAULT_BUNDLE,
    workers: int,
    rounds: int,
    progress: Callable[[str], None] = lambda step: None,
) -> Report:
    """Measure scans of a folder of pictures, or of pictures made in work; raises SourceError where there are none."""
    bundle = load_bundle(model)
    detector = Detector(bundle)
    sets = {str(images): _pictures_of(images, detector)} if images else _made_pictures(work)
    report = Report(
        processor=processor(),
        processors=os.cpu_count() or 1,
        python=platform.python_version(),
        model=bundle.identity,
        runtime=detector.classifier.runtime,
        precision=detector.signed["precision"],
    )
    for name, files in sets.items():
        progress(f"scanning {len(files)} pictures, {name}")
        report.sets[name] = _measure(files, detector, workers, rounds)
    progress("running the classifier on every runtime")
    report.invoke_ms = _invoke_ms(bundle, model)
    progress("starting")
    first = next(iter(sets.values()))
    report.first_verdict_s = _first_verdict_s(first[0], model)
    progress("measuring memory")
    report.peak_memory_mb = _peak_memory_mb(first, model, workers)
    return report


def table(report: Report) -> list[str]:
    """Return the lines of a report for people."""
    lines = [
        f"{report.processor}, {report.processors} processors, Python {report.python}",
        f"{report.model}, {report.precision} on {report.runtime}",
    ]
    for name, times in report.sets.items():
        lines += ["", f"{name}: {times.pictures} pictures of {times.megapixels:.1f} megapixels, ms each in one thread"]
        parts = {
            "scan": times.scan_ms,
            "  decode": times.decode_ms,
            "  find faces": times.find_ms,
            "  crop": times.crop_ms,
            "  classify": times.classify_ms,
            "limit: decode, two networks": times.limit_ms,
            "full decode": times.full_decode_ms,
        }
        lines += [f"  {part:<28} {ms:8.2f}" for part, ms in parts.items()]
        lines.append(f"  {'share of the limit reached':<28} {times.share_of_limit:8.0%}")
        cost = f"{times.small_faces_ratio:.2f} times as long with it"
        lines.append(f"  {'without the small faces':<28} {times.small_faces_off_ms:8.2f}  {cost}")
        if times.naive_ms:
            ratio = f"{times.naive_ms / times.scan_ms:.1f} times as long"
            lines.append(f"  {'MediaPipe and keras.predict':<28} {times.naive_ms:8.2f}  {ratio}")
        one = times.per_s_by_workers[1]
        lines += [
            f"  {f'{workers} worker' + 's' * (workers > 1):<28} {per_s:8.1f} pictures/s, {per_s / one:.2f} times one"
            for workers, per_s in times.per_s_by_workers.items()
        ]
    lines += ["", "classifier alone, ms"]
    for runtime, by_precision in report.invoke_ms.items():
        lines.append(f"  {runtime:<28} " + ", ".join(f"{name} {ms:.2f}" for name, ms in by_precision.items()))
    return [
        *lines,
        "",
        f"first verdict {report.first_verdict_s:.2f} s after the start; at most {report.peak_memory_mb:.0f} MB",
    ]


def as_json(report: Report) -> str:
    """Return a report as JSON."""
    values = asdict(report)
    for name, times in report.sets.items():
        ratios = {"share_of_limit": times.share_of_limit, "small_faces_ratio": times.small_faces_ratio}
        values["sets"][name].update(ratios)
    return json.dumps(values, indent=2)


def _pictures_of(folder: Path, detector: Detector) -> list[Path]:
    files = [path for path in expand_paths([folder]) if path.suffix.lower() in SUFFIXES]
    chosen = files[:: max(1, -(-len(files) // _MAX_PICTURES))]
    sound = [path for path in chosen if detector.scan_file(path).status == "ok"]
    if not sound:
        raise SourceError(f"no pictures in {folder}; wanted a folder of them")
    return sound


def _made_pictures(folder: Path) -> dict[str, list[Path]]:
    """Write portraits as a webcam and as a phone would take them."""
    rng = np.random.default_rng(0)
    portraits = [read_image(SAMPLES / name) for name in ("real_astronaut.jpg", "real_grace_hopper.jpg")]
    sizes = {"640 x 480": (640, 480), "1 megapixel": (1152, 864), "12 megapixels": (4000, 3000)}
    for name, size in list(sizes.items())[:2]:
        for number, portrait in enumerate(portraits * 4):
            view = portrait[:384] if number % 2 else portrait[:384, ::-1]
            _save(view, size, rng, folder / name / f"{number}.jpg")
    large = folder / "12 megapixels"
    for number, (portrait, (x, y, side)) in enumerate(zip(portraits, ((120, 60, 200), (120, 90, 380)), strict=True)):
        _save(portrait[y : y + side * 3 // 4, x : x + side], sizes[large.name], rng, large / f"{number}.jpg")
    return {name: sorted((folder / name).iterdir()) for name in sizes}


def _save(view: np.ndarray, size: tuple[int, int], rng: np.random.Generator, path: Path) -> None:
    pixels = cv2.resize(view, size, interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, _GRAIN, (size[1], size[0], 1)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(path, quality=90)


def _measure(files: Sequence[Path], detector: Detector, workers: int, rounds: int) -> PictureTimes:
    naive = _Naive(files) if all(map(find_spec, ("keras", "mediapipe", "tensorflow"))) else None
    plain = Detector(detector.bundle, small_faces=False)
    finder = TFLiteModel(detector.bundle.face_detector, detector.classifier.runtime)
    seconds: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in files])
    per_s: dict[int, list[float]] = defaultdict(list)
    naive_ms: list[float] = []
    pixels, repeats = 0, 1
    for turn in range(rounds + 1):
        for number, file in enumerate(files):
            for name, used_s in _parts_s(file, detector, plain, finder).items():
                if turn:  # the first is to warm up
                    seconds[name][number].append(used_s)
        round_s = sum(min(by_file, default=0.0) for by_file in seconds["scan_ms"]) if turn else 1.0
        repeats = max(1, round(_ROUND_S / round_s))
        for count in range(1, workers + 1):
            many = list(chain.from_iterable(repeat(files, repeats)))
            started = time.perf_counter()
            for _ in scan_files(many, detector, workers=count):
                pass
            if turn:
                per_s[count].append(len(many) / (time.perf_counter() - started))
        if naive and turn:
            naive_ms.append(naive.once_ms())
    if naive:
        naive.close()
    for file in files:
        picture = Picture(file)
        pixels += picture.width_px * picture.height_px
    means = {name: float(np.mean([np.median(used) for used in by_file])) * 1000 for name, by_file in seconds.items()}
    return PictureTimes(
        pictures=len(files),
        megapixels=pixels / len(files) / 1e6,
        naive_ms=float(np.median(naive_ms)) if naive_ms else None,
        per_s_by_workers={count: float(np.median(known)) for count, known in per_s.items()},
        **means,
    )


def _parts_s(file: Path, detector: Detector, plain: Detector, finder: TFLiteModel) -> dict[str, float]:
    """Return what a scan of one file takes, plain without the search for small faces, and each of its parts apart."""
    used: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        used[name] = used.get(name, 0) + time.perf_counter() - started
        return result

    timed("scan_ms", lambda: detector.scan_file(file))
    timed("small_faces_off_ms", lambda: plain.scan_file(file))
    timed("full_decode_ms", lambda: read_image(file))
    picture = Picture(file)
    image, faces = detector.read(picture)
    shown = picture.width_px / image.shape[1]
    reduction, smallest_px = round(shown), detector.bundle.min_face_px / shown
    timed("decode_ms", lambda: Picture(file).decode(reduction))
    timed("find_ms", lambda: detector.finder.find(image, smallest_px=smallest_px))
    crops = timed("crop_ms", lambda: [detector.crop(image, face.box_xyxy, face.roll_degrees) for face in faces])
    timed("classify_ms", lambda: [detector.score(crop) for crop in crops])
    found_in = np.zeros(finder.input_shape, np.float32)
    batches = [crop[np.newaxis].astype(np.float32) for crop in crops]

    def bare() -> None:
        Picture(file).decode(reduction)
        finder.run(found_in)
        for batch in batches:
            detector.classifier.run(batch)

    timed("limit_ms", bare)
    return used


class _Naive:
    """The usual way, in a process of its own that takes its turns when asked."""

    def __init__(self, files: Sequence[Path]) -> None:
        command = [sys.executable, "-m", "facetell.tools.naive", *map(str, files)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._pictures = len(files)
        self.once_ms()  # to warm up

    def once_ms(self) -> float:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("once\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline()) * 1000 / self._pictures

    def close(self) -> None:
        self._process.communicate()


def _invoke_ms(bundle: Bundle, model: Path) -> dict[str, dict[str, float]]:
    names = [name for name in ("float32", "int8") if name in bundle.classifiers]
    files = [str(model / bundle.classifiers[name].file) for name in names]
    if not model.is_dir():
        return {}
    found: dict[str, dict[str, float]] = {}
    for _ in range(2):
        for runtime in installed_runtimes():
            command = [sys.executable, "-m", "facetell.edge.latency", runtime, *files]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                known = found.setdefault(runtime, {})
                for name, ms in zip(names, json.loads(done.stdout), strict=True):
                    known[name] = min(ms, known.get(name, ms))
    return found


def _first_verdict_s(file: Path, model: Path) -> float:
    known = []
    for _ in range(_STARTS):
        started = time.perf_counter()
        command = [*_CLI, "scan", "-q", "--format", "jsonl", "--model", str(model), str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            process.stdout.readline()
            known.append(time.perf_counter() - started)
    return float(np.median(known))


def _peak_memory_mb(files: Sequence[Path], model: Path, workers: int) -> float:
    """Return the most memory that a scan of some hundred files has held; 0 where the system does not say."""
    if find_spec("resource") is None:
        return 0
    paths = "\n".join(str(files[number % len(files)]) for number in range(_FILES_FOR_MEMORY))
    # Between us and the scan stands a small process, for a child begins with its parent's peak.
    command = [
        sys.executable,
        "-c",
        _PEAK_OF,
        *_CLI,
        "scan",
        "-q",
        "--workers",
        str(workers),
        "--model",
        str(model),
        "-",
    ]
    done = subprocess.run(command, input=paths + "\n", capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout) * unit / 1e6
