"""Face crops for training: MediaPipe finds the faces, edge/faces.py cuts them, on all cores, and it can be resumed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..edge.crops import CROP_SETTINGS, CropSettings
from ..edge.errors import DatasetError, ImageError, SourceError
from ..edge.faces import Face, crop_face, largest_face, resize_face, saved_size_px
from ..edge.files import claim_folder, replacing, write_text
from ..edge.images import read_image
from ..edge.manifest import MANIFEST, Record, read_manifest, read_skipped, write_manifest, write_skipped

_JOURNAL = "crop.partial.jsonl"


def crop(
    dataset: Path,
    output: Path,
    settings: CropSettings,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Record], list[tuple[str, str]]]:
    """Cut the faces of a merged data set into output/{real,fake}/*.png and return its records and what was skipped.

    Pictures without a face are skipped and reported. A run that was stopped goes on where it was; the same run over a
    finished output changes nothing. progress is called with pictures done and in all.

    Raises DatasetError when output holds something else, or a label would be left without pictures.
    """
    if not settings.pre_cropped and find_spec("mediapipe") is None:
        raise ModuleNotFoundError("No module named 'mediapipe'", name="mediapipe")  # before the workers find out
    records = read_manifest(dataset)
    described = sorted(f"{r.sha256} {r.label} {r.source} {r.group} {r.stated_split}" for r in records)
    pictures_sha256 = hashlib.sha256("\n".join(described).encode("utf-8", "surrogateescape")).hexdigest()
    claim_folder(output, CROP_SETTINGS, {"settings": asdict(settings), "pictures_sha256": pictures_sha256})
    if (output / MANIFEST).exists():
        return read_manifest(output), read_skipped(output)
    done = _read_journal(output)
    waiting = [record for record in records if record.path not in done]
    workers = workers or os.cpu_count() or 1
    progress(len(done), len(records))
    write_text(output / _JOURNAL, "".join(_journal_line(path, found) for path, found in done.items()))
    try:
        with (output / _JOURNAL).open("a", encoding="utf-8") as journal:
            for path, found in _crop_all(dataset, output, settings, waiting, workers):
                done[path] = found
                journal.write(_journal_line(path, found))
                journal.flush()
                progress(len(done), len(records))
    except OSError as error:
        raise SourceError(f"cannot write {output}: {error.strerror or error}; choose another place with -o") from error
    size_px = saved_size_px(settings.input_size_px)
    cropped = [
        replace(record, path=path, width=size_px, height=size_px)
        for record in records
        for path in done[record.path]["crops"]
    ]
    skipped = [(record.path, done[record.path]["reason"]) for record in records if not done[record.path]["crops"]]
    for label in ("real", "fake"):
        if not any(record.label == label for record in cropped):
            _empty(output)
            raise DatasetError(f"no face was found in any {label} picture of {dataset}; nothing to train on")
    for cut_off in output.glob("*/.*.partial"):  # by a kill, in a run before this
        cut_off.unlink()
    write_skipped(output, skipped)
    write_manifest(output, cropped)
    (output / _JOURNAL).unlink(missing_ok=True)
    return cropped, skipped


def _empty(output: Path) -> None:
    """Remove what a run made in its folder, and the folder unless somebody stands in it."""
    for path in output.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with suppress(OSError):
        output.rmdir()


def _journal_line(path: str, found: dict[str, Any]) -> str:
    return json.dumps({"path": path} | found) + "\n"


def _read_journal(output: Path) -> dict[str, dict[str, Any]]:
    done = {}
    if (output / _JOURNAL).exists():
        for line in (output / _JOURNAL).read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the line that a kill cut off
                continue
            done[entry.pop("path")] = entry
    return done


def _crop_all(
    dataset: Path, output: Path, settings: CropSettings, records: list[Record], workers: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    if not records:
        return
    # Spawned, not forked: MediaPipe's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(settings,)) as pool:
        try:
            jobs = ((dataset / record.path, output, Path(record.path).with_suffix("")) for record in records)
            yield from zip((record.path for record in records), pool.map(_crop_one, jobs, chunksize=8), strict=True)
        except BrokenProcessPool as error:
            raise DatasetError(
                "a cropping process was killed, by lack of memory most likely; run it again with fewer --workers"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


# What follows runs in the worker processes.
_settings: CropSettings
_find_faces: Callable[[np.ndarray], list[Face]]


def _start_worker(settings: CropSettings) -> None:
    global _settings, _find_faces
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MediaPipe greets from C++; errors come back as exceptions
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _settings = settings
    if not settings.pre_cropped:
        _find_faces = mediapipe_finder(settings.min_face_score)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the parent was killed: nobody waits for this work any more


def mediapipe_finder(min_score: float) -> Callable[[np.ndarray], list[Face]]:
    """Return what finds the faces of a (H, W, 3) uint8 RGB picture with MediaPipe's short-range model."""
    from mediapipe.python.solutions.face_detection import FaceDetection

    detection: Any = FaceDetection(min_detection_confidence=min_score, model_selection=0)

    def find(image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        faces = []
        for found in detection.process(image).detections or []:
            box = found.location_data.relative_bounding_box
            x, y = box.xmin * width, box.ymin * height
            faces.append(Face((x, y, x + box.width * width, y + box.height * height), found.score[0]))
        return faces

    return find


def _crop_one(job: tuple[Path, Path, Path]) -> dict[str, Any]:
    picture, output, stem = job
    try:
        image = read_image(picture)
    except ImageError as error:
        return {"crops": [], "reason": str(error)}
    crops = list(_crops(image))
    paths = [stem.with_name(f"{stem.name}{f'-{index}' if index else ''}.png") for index in range(len(crops))]
    for path, pixels in zip(paths, crops, strict=True):
        with replacing(output / path) as partial:
            Image.fromarray(pixels).save(partial, format="PNG", compress_level=1)
    return {"crops": [path.as_posix() for path in paths], "reason": "" if crops else "no face found"}


def _crops(image: np.ndarray) -> Iterable[np.ndarray]:
    size_px = saved_size_px(_settings.input_size_px)
    if _settings.pre_cropped:
        return [resize_face(image, size_px=size_px)]
    faces = _find_faces(image)
    if faces and _settings.faces == "largest":
        faces = [largest_face(faces)]
    return [
        crop_face(
            image,
            face.box_xyxy,
            size_px=size_px,
            margin_ratio=_settings.margin_ratio,
            surround_ratio=size_px / _settings.input_size_px,
        )
        for face in faces
    ]
