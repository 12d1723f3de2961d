"""A scan on a cluster that is disturbed: workers are killed, it is stopped, another comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray", reason="ray is not installed")

import pyarrow as pa

from facetell.edge.errors import SourceError
from facetell.tools.cli import run
from facetell.tools.cluster.diary import Diary
from facetell.tools.cluster.engine import cluster, spread

from ...pictures import SAMPLES
from ...program import DONE, FACETELL, FAILED, one_error
from .nodes import busy_workers
from .rows import comparable, plain, rows

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Ray about itself
    pytest.mark.skipif("FACETELL_CLUSTER" not in os.environ, reason="make cluster runs it: it takes minutes"),
]

FILES = 1500


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many pictures that there is time to disturb a scan of them."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(FILES):
        (folder / f"{number:04}.jpg").symlink_to(SAMPLES / "two_faces.jpg")
    return folder


@pytest.fixture(scope="module")
def expected(many: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return comparable(plain(many, "--precision", "float32", output=tmp_path_factory.mktemp("plain") / "rows.jsonl"))


def start(many: Path, address: str, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [*FACETELL, "scan", many, "--cluster", address, "--precision", "float32", "-o", output, *options]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the names of processes are in /proc")
def test_a_worker_that_is_killed_loses_and_doubles_nothing(
    many: Path, ray_address: str, tmp_path: Path, expected: list[str]
) -> None:
    process = start(many, ray_address, tmp_path / "out")
    os.kill(wait_for(lambda: busy_workers(psutil.pids()))[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == DONE, err
    assert comparable(rows(tmp_path / "out")) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_done_is_kept_and_resume_does_the_rest(
    number: signal.Signals, many: Path, ray_address: str, tmp_path: Path, expected: list[str]
) -> None:
    process = start(many, ray_address, tmp_path / "out")
    wait_for(lambda: busy_workers(psutil.pids()))
    time.sleep(2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Stopped after" in err
    assert "Started a local Ray" not in err  # by what was left open
    assert 0 < len(rows(tmp_path / "out")) < FILES
    assert run(["scan", str(many), "--cluster", ray_address, "-o", str(tmp_path / "out"), "--resume"]) == DONE
    assert comparable(rows(tmp_path / "out")) == expected


def test_two_scans_do_not_write_to_one_place(
    many: Path, ray_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(many, ray_address, tmp_path / "out")
    wait_for(lambda: (tmp_path / "out" / "_lock").exists())
    for _ in range(2):  # the first refusal opens no door
        code = run(["scan", str(many), "--cluster", ray_address, "-o", str(tmp_path / "out"), "--resume"])
        assert code == FAILED
        assert "is being written by another scan" in one_error(capsys.readouterr().err)
    process.kill()
    process.communicate()


def numbers() -> Iterator[Any]:
    """Four batches of four."""
    for start in range(0, 16, 4):
        yield pa.array([{"number": number} for number in range(start, start + 4)])


def test_what_ends_its_worker_is_left_out_and_the_rest_is_done(ray_address: str) -> None:
    class Mortal:
        def __call__(self, items: Any, diary: Diary) -> Any:
            made = []
            for item, is_looked_at in diary.each(items.to_pylist()):
                if is_looked_at and item["number"] == 6:
                    os._exit(1)
                made.append(item | {"is_looked_at": is_looked_at})
            return pa.array(made)

    with cluster(ray_address, 1) as workers:
        made = [row for rows in spread(numbers, Mortal, (), workers) for row in rows.to_pylist()]
    assert sorted(row["number"] for row in made) == list(range(16))
    assert [row["number"] for row in made if not row["is_looked_at"]] == [6]


def test_workers_that_cannot_start_are_told(ray_address: str) -> None:
    class Stillborn:
        def __init__(self) -> None:
            os._exit(1)

    with pytest.raises(SourceError, match="workers ended while they started"), cluster(ray_address, 1) as workers:
        list(spread(numbers, Stillborn, (), workers))


def test_no_more_is_listed_than_is_worked_on(ray_address: str, tmp_path: Path) -> None:
    class Slow:
        def __call__(self, items: Any, diary: Diary) -> Any:
            time.sleep(0.1)
            return items

    def endless() -> Iterator[Any]:
        for number in count():
            (tmp_path / "listed").write_text(str(number))
            yield pa.array([{"number": number}])

    with cluster(ray_address, 2) as workers:
        made = sum(len(rows) for rows in islice(spread(endless, Slow, (), workers), 100))
    assert made == 100
    assert int((tmp_path / "listed").read_text()) < 300
