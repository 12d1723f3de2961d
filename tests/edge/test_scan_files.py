"""The engine of a scan: every path once, in order, in as many threads as asked for, and never far ahead."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facetell.edge.detector import Detector
from facetell.edge.scan import scan_files

from ..pictures import write_video


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> list[Path]:
    """Pictures that take very different times, and some that cannot be read."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(astronaut).resize((3000, 3000)).save(folder / "large.png")
    Image.fromarray(astronaut).save(folder / "usual.jpg")
    Image.new("RGB", (8, 8)).save(folder / "tiny.png")
    (folder / "text.jpg").write_text("no picture")
    return [folder / "large.png", *[folder / name for name in ("tiny.png", "text.jpg", "usual.jpg", "gone.jpg")] * 8]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_path_comes_once_and_in_order(workers: int, pictures: list[Path], detector: Detector) -> None:
    results = list(scan_files(pictures, detector, workers=workers))
    assert [result.path for result in results] == [str(path) for path in pictures]
    verdicts = {Path(result.path).name: (result.status, len(result.faces)) for result in results}
    assert verdicts == {
        **{"large.png": ("ok", 1), "usual.jpg": ("ok", 1), "tiny.png": ("ok", 0)},
        **{"text.jpg": ("error", 0), "gone.jpg": ("error", 0)},
    }


def test_any_number_of_workers_says_the_same(pictures: list[Path], detector: Detector) -> None:
    one, four = ([result.faces for result in scan_files(pictures, detector, workers=n)] for n in (1, 4))
    assert one == four


@pytest.mark.parametrize("workers", [1, 3])
def test_paths_are_taken_as_they_are_needed(workers: int, pictures: list[Path], detector: Detector) -> None:
    taken = itertools.count()
    endless = (pictures[-1] for _ in taken)
    results = scan_files(endless, detector, workers=workers)
    for _ in range(10):
        next(results)
    results.close()
    assert next(taken) < 10 + 33 * workers + 2


def test_a_result_does_not_wait_for_the_next_path(pictures: list[Path], detector: Detector) -> None:
    """As when paths trickle in through a pipe, or pictures into a watched folder."""
    go_on = threading.Event()

    def trickle() -> Iterator[Path]:
        yield pictures[-2]
        assert go_on.wait(30)
        yield pictures[-1]

    results = scan_files(trickle(), detector, workers=2)
    assert next(results).path == str(pictures[-2])
    go_on.set()
    assert [result.path for result in results] == [str(pictures[-1])]


def test_what_goes_wrong_with_the_paths_is_raised_after_their_results(pictures: list[Path], detector: Detector) -> None:
    def breaks() -> Iterator[Path]:
        yield pictures[-2]
        raise OSError("the disk is gone")

    results = scan_files(breaks(), detector, workers=2)
    assert next(results).path == str(pictures[-2])
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_scan_can_be_stopped(after: int, pictures: list[Path], detector: Detector) -> None:
    seen = []
    for result in scan_files(itertools.repeat(pictures[-2]), detector, workers=2, stopped=lambda: len(seen) >= after):
        seen.append(result)
    assert after <= len(seen) <= after + 2 * 32 + 2  # what two workers had done by then


def test_what_is_done_behind_a_video_that_is_stopped_comes(
    pictures: list[Path], portrait: np.ndarray, detector: Detector, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "long.avi", [cv2.resize(portrait, (1280, 960))] * 300, "MJPG")
    started = time.monotonic()
    results = scan_files(
        [video, *[pictures[-2]] * 10],
        detector,
        workers=2,
        fps=100,
        stopped=lambda: time.monotonic() - started > 2,
    )
    assert [Path(result.path).name for result in results] == [pictures[-2].name] * 10


def test_a_scan_that_waits_for_paths_can_be_stopped(detector: Detector) -> None:
    never, stop = threading.Event(), threading.Event()
    threading.Timer(0.3, stop.set).start()
    waiting = (path for path in [Path("never")] if never.wait(60))
    assert list(scan_files(waiting, detector, workers=2, stopped=stop.is_set)) == []
    never.set()
