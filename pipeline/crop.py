"""Face crops for training: MediaPipe finds the faces, edge/cut.py cuts them, on all cores, and it can be resumed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
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

from ..edge.blazeface import SIDE_PX, BlazeFace
from ..edge.bundle import DEFAULT_BUNDLE, FACE_DETECTOR
from ..edge.crops import CROP_SETTINGS, CropSettings
from ..edge.cut import crop_face, face_square, resize_face, saved_size_px
from ..edge.errors import DatasetError, ImageError, SourceError
from ..edge.faces import Face, largest_face
from ..edge.files import claim_folder, replacing, write_text
from ..edge.finder import HINT_SCORE, Detect, FaceFinder, is_sure
from ..edge.images import read_image
from ..edge.manifest import MANIFEST, Record, read_manifest, read_skipped, write_manifest, write_skipped

_JOURNAL = "crop.partial.jsonl"

Found = dict[str, Any]
"""Of one picture: crops, of each its path below the output and its room_ratio, and the reason where there are none."""

_ENLARGED = 4  # MediaPipe gives boxes in whole pixels, so it is shown four for one


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
        stem, found, reason = Path(path).with_suffix(""), *self._crops(image)
        crops = []
        for index, (pixels, room_ratio) in enumerate(found):
            crop_path = stem.with_name(f"{stem.name}{f'-{index}' if index else ''}.png")
            with replacing(self._output / crop_path) as partial:
                Image.fromarray(pixels).save(partial, format="PNG", compress_level=1)
            crops.append({"path": crop_path.as_posix(), "room_ratio": room_ratio})
        return {"crops": crops, "reason": reason}

    def check(self) -> None:
        """Raise SourceError where the data set or the output is not there, as on a node that does not share them."""
        for needed in (self._dataset / MANIFEST, self._output / CROP_SETTINGS):
            if not needed.is_file():
                raise SourceError(f"{needed.parent} is not the same on every node; name folders that all share")

    def _crops(self, image: np.ndarray) -> tuple[list[tuple[np.ndarray, float]], str]:
        """Return each crop with its room_ratio, and the reason where there are none."""
        settings = self._settings
        size_px = saved_size_px(settings.input_size_px)
        if settings.pre_cropped:
            return [(resize_face(image, size_px=size_px), 1.0)], ""
        smallest_px = settings.min_face_px if settings.faces == "all" else None
        seen = self._finder.find(image, smallest_px=smallest_px)
        sure = [face for face in seen if is_sure(face)]
        faces = [face for face in sure if face.size_px >= settings.min_face_px]
        if not faces:
            return [], "face too small to judge" if sure else "may not be a face" if seen else "no face found"
        chosen = [largest_face(faces)] if settings.faces == "largest" else faces
        return [(self._crop(image, face, size_px), self._room_ratio(image, face)) for face in chosen], ""

    def _crop(self, image: np.ndarray, face: Face, size_px: int) -> np.ndarray:
        return crop_face(
            image,
            face.box_xyxy,
            size_px=size_px,
            margin_ratio=self._settings.margin_ratio,
            roll_degrees=face.roll_degrees,
            surround_ratio=size_px / self._settings.input_size_px,
        )

    def _room_ratio(self, image: np.ndarray, face: Face) -> float:
        square = face_square(image, face.box_xyxy, margin_ratio=self._settings.margin_ratio)
        return round(square.side_px / face.size_px, 3)

    @cached_property
    def _finder(self) -> FaceFinder:
        return FaceFinder(mediapipe_detect())


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
        replace(record, path=crop["path"], width=size_px, height=size_px, room_ratio=crop["room_ratio"])
        for record in records
        for crop in done[record.path]["crops"]
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


def mediapipe_detect() -> Detect:
    """Return MediaPipe's FaceDetector with the shipped BlazeFace, for finder.FaceFinder."""
    from mediapipe import Image as MediaPipeImage
    from mediapipe import ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import FaceDetector, FaceDetectorOptions

    model = (DEFAULT_BUNDLE / FACE_DETECTOR).read_bytes()
    options = FaceDetectorOptions(BaseOptions(model_asset_buffer=model), min_detection_confidence=HINT_SCORE)
    detector, own = FaceDetector.create_from_options(options), BlazeFace(model, min_score=HINT_SCORE)

    def detect(patch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        shown = patch.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
        found = []
        for face in detector.detect(MediaPipeImage(image_format=ImageFormat.SRGB, data=shown)).detections:
            box = face.bounding_box
            if not (box.origin_x and box.origin_y):
                return own(patch)  # MediaPipe moves a box that begins beyond the left or upper edge to that edge
            corner, size = np.array([(box.origin_x, box.origin_y), (box.width, box.height)]) + 0.5  # it rounds down
            corners = np.stack([corner, corner + size]) / _ENLARGED
            points = np.array([(point.x, point.y) for point in face.keypoints]) * SIDE_PX
            found.append((np.concatenate([corners, points]), float(face.categories[0].score)))
        return found

    return detect
