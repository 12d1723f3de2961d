"""Face crops for training: MediaPipe finds the faces, edge/faces.py cuts them, on all cores, and it can be resumed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
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


Found = dict[str, Any]
"""Of one picture: crops, their paths below the output, and the reason where there are none."""


class Cropper:
    """Cuts the faces of a data set's pictures into files; for use in one thread."""

    def __init__(self, dataset: Path, output: Path, settings: CropSettings) -> None:
        """Load nothing yet: it is sent to where it works."""
        self._dataset, self._output, self._settings = dataset.absolute(), output.absolute(), settings

    def __call__(self, path: str) -> Found:
        """Cut the faces of the picture at a path below the data set; raises SourceError when they cannot be written."""
        try:
            image = read_image(self._dataset / path)
        except ImageError as error:
            return {"crops": [], "reason": str(error)}
        stem, crops = Path(path).with_suffix(""), list(self._crops(image))
        paths = [stem.with_name(f"{stem.name}{f'-{index}' if index else ''}.png") for index in range(len(crops))]
        for crop_path, pixels in zip(paths, crops, strict=True):
            with replacing(self._output / crop_path) as partial:
                Image.fromarray(pixels).save(partial, format="PNG", compress_level=1)
        return {"crops": [path.as_posix() for path in paths], "reason": "" if crops else "no face found"}

    def check(self) -> None:
        """Raise SourceError where the data set or the output is not there, as on a node that does not share them."""
        for needed in (self._dataset / MANIFEST, self._output / CROP_SETTINGS):
            if not needed.is_file():
                raise SourceError(f"{needed.parent} is not the same on every node; name folders that all share")

    def _crops(self, image: np.ndarray) -> Iterable[np.ndarray]:
        settings = self._settings
        size_px = saved_size_px(settings.input_size_px)
        if settings.pre_cropped:
            return [resize_face(image, size_px=size_px)]
        faces = self._find_faces(image)
        if faces and settings.faces == "largest":
            faces = [largest_face(faces)]
        return [
            crop_face(
                image,
                face.box_xyxy,
                size_px=size_px,
                margin_ratio=settings.margin_ratio,
                surround_ratio=size_px / settings.input_size_px,
            )
            for face in faces
        ]

    @cached_property
    def _find_faces(self) -> Callable[[np.ndarray], list[Face]]:
        return mediapipe_finder(self._settings.min_face_score)


Cut = Callable[[Cropper, Sequence[str], "int | None"], Iterator[tuple[str, Found]]]
"""Has workers like a cropper work on paths below the data set; yields each and what was found, in any order."""


def crop(
    dataset: Path,
    output: Path,
    settings: CropSettings,
    *,
    workers: int | None = None,
    cut: Cut | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Record], list[tuple[str, str]]]:
    """Cut the faces of a merged data set into output/{real,fake}/*.png and return its records and what was skipped.

    Pictures without a face are skipped and reported. A run that was stopped goes on where it was; the same run over a
    finished output changes nothing. cut says where the work is done, by default in as many processes as workers or, of
    none, as there are processors. progress is called with pictures done and in all.

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
    waiting = [record.path for record in records if record.path not in done]
    progress(len(done), len(records))
    write_text(output / _JOURNAL, "".join(_journal_line(path, found) for path, found in done.items()))
    try:
        with (output / _JOURNAL).open("a", encoding="utf-8") as journal:
            cropper = Cropper(dataset, output, settings)
            for path, found in (cut or in_processes)(cropper, waiting, workers) if waiting else ():
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


def in_processes(cropper: Cropper, paths: Sequence[str], workers: int | None) -> Iterator[tuple[str, Found]]:
    """Yield each path and what a cropper finds there; raises DatasetError when a process is killed."""
    # Spawned, not forked: MediaPipe's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    workers = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(cropper,)) as pool:
        try:
            yield from zip(paths, pool.map(_crop_one, paths, chunksize=8), strict=True)
        except BrokenProcessPool as error:
            raise DatasetError(
                "a cropping process was killed, by lack of memory most likely; run it again with fewer --workers"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


# What follows runs in the worker processes.
_cropper: Cropper


def _start_worker(cropper: Cropper) -> None:
    global _cropper
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MediaPipe greets from C++; errors come back as exceptions
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _cropper = cropper


def _crop_one(path: str) -> Found:
    return _cropper(path)


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
