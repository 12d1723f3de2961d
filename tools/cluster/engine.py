"""Work on a Ray cluster: batches of what is listed go to workers, and what they make of them comes back."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOBase
from pathlib import Path
from types import FrameType
from typing import Any, Protocol
from uuid import uuid4
from warnings import catch_warnings, simplefilter

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask, read_datasource
from ray.data.block import BlockMetadata
from ray.exceptions import RayError, RayTaskError
from ray.util.client import ray as client

from ...edge.errors import FacetellError, RuntimeMissingError, SourceError
from ...edge.scan import available_processors
from .diary import Diary, own_folder, starting

AUTO = "auto"
_ANSWER_S = 5
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS
"""How gRPC begins; whoever speaks it answers with settings, too (RFC 9113, 3.4 and 6.5)."""
Batches = Callable[[], Iterator[pa.StructArray]]
_CALLS_PER_WORKER = 2  # one fetches its files while the other scans
_ASKED_AHEAD = 16  # batches, so that the way to the head is no wait


class Worker(Protocol):
    """Makes rows of a batch of items; its calls come from more than one thread."""

    def __call__(self, items: pa.StructArray, diary: Diary) -> pa.StructArray:
        """Return one row or more for each item; the diary gives them, and whether each may be looked at."""
        ...


@contextmanager
def cluster(address: str, workers: int | None) -> Iterator[int]:
    """Connect to the Ray cluster at an address and yield how many workers it is to have, by default one a processor.

    auto is the cluster that this machine is a node of, or else one of its own, started here and stopped at the end.
    Raises SourceError when nothing answers there, or what answers is another Ray or Python.
    """
    found = _running_here() if address == AUTO else address
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if found is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers of it
        with _signals_kept():
            ray.init("local", num_cpus=workers or available_processors(), include_dashboard=False, **options)
    else:
        _check_answers(found)
        try:
            with catch_warnings(), _signals_kept():
                simplefilter("ignore")
                ray.init(found, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            same = "Ray, Python, RAY_AUTH_MODE and RAY_AUTH_TOKEN must be the same there and here"
            hint = f"{same}, and Ray's port, 6379, goes without ray://, its clients', 10001, with it; or try again"
            lines = str(error).strip().splitlines() or [type(error).__name__]
            said = " ... ".join(dict.fromkeys((lines[0], lines[-1])))  # between them, a traceback of the server's
            raise SourceError(f"cannot use the Ray cluster at {found}; {hint}: {said}") from error
    with redirect_stdout(_Told()):
        try:
            yield workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        finally:
            ray.shutdown()


class _Told(TextIOBase):
    """Passes to stderr what Ray prints of workers and nodes that were lost; of work that is done again in our words."""

    _begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            is_repeated = "retries remaining" in line
            if "killed by `ray.kill`" not in line:  # which is how it ends its own
                print("A worker was lost; its work is done again." if is_repeated else line, file=sys.stderr)
        return len(text)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Take SIGTERM back from Ray."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _running_here() -> str | None:
    """Return the address of the cluster that this machine is a node of, as Ray keeps it, if it answers."""
    if os.environ.get("RAY_ADDRESS", AUTO) not in ("", AUTO):
        return os.environ["RAY_ADDRESS"]
    with suppress(OSError, SourceError):
        address = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster").read_text().strip()
        _check_answers(address)
        return address
    return None


def _check_answers(address: str) -> None:
    """Raise SourceError where nobody speaks gRPC: Ray would wait for minutes, and end the program."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if not port.isdecimal():
            raise OSError("no port is named")
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "1":
                connection.sendall(_HTTP2)
                if connection.recv(len(_SETTINGS))[3:4] != _SETTINGS[3:4]:
                    raise OSError("what does is no Ray")
    except (OSError, OverflowError) as error:
        wanted = "auto, HOST:6379 or ray://HOST:10001"
        raise SourceError(f"no Ray cluster answers at {address}: {error}; wanted {wanted}") from error


def spread(
    batches: Batches, worker: Callable[..., Worker], arguments: tuple[Any, ...], workers: int
) -> Generator[pa.StructArray, None, None]:
    """Yield the rows that workers, each made by worker(*arguments), make of batches: in any order, none twice.

    batches is called once, on this node or, through ray://, on the head, and read no further than keeps the workers
    busy. The batch of a worker that is lost goes to another. A signal that is handled ends it, and no batch is waited
    for. Raises what batches and workers raise on purpose, and SourceError when the cluster gives up or workers end
    again and again before they look at anything.
    """
    stream = (_asked if client.is_connected() else _streamed)(batches, worker, arguments, workers)
    try:
        while True:
            with _ended_by_signals():
                rows = next(stream, None)
            if rows is None:
                return
            yield rows
    except _SignalledError:
        return
    except RayError as error:
        raise _in_our_words(error) from error


class _SignalledError(Exception):
    """Ends a wait."""


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have signals end what is waited for, after what handles them now."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:
        handle = before[signal.Signals(number)]
        if callable(handle):
            handle(number, frame)
        raise _SignalledError

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handle in before.items():
            if signal.getsignal(number) is end:  # and not what handle put there for the next time
                signal.signal(number, handle)


def _in_our_words(error: RayError) -> Exception:
    if isinstance(error, RayTaskError) and isinstance(error.cause, FacetellError):
        return type(error.cause)(str(error.cause).partition("\n")[0])  # Ray adds lines
    if missing := re.search(r"No module named '([\w.]+)'", str(error)):
        return RuntimeMissingError(f"a node lacks {missing[1]}; install the same facetell and extras on every node")
    last_line = str(error).strip().splitlines()[-1]
    return SourceError(f"the cluster gave up: {last_line}; run it again, a scan with --resume")


def _streamed(
    batches: Batches, worker: Callable[..., Worker], arguments: tuple[Any, ...], workers: int
) -> Iterator[pa.StructArray]:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # A block is cut at this many bytes but holds a row at least, and a row of ours is a batch: so each travels alone.
    context.target_max_block_size = context.target_min_block_size = 1
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    run = uuid4().hex
    listed = Listed(batches, run)
    dataset = read_datasource(listed, num_cpus=0, override_num_blocks=1).map_batches(
        _Actor,
        fn_constructor_args=(worker, arguments, run),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=1,
        compute=ActorPoolStrategy(
            min_size=1,  # workers that nothing is left for make way for those of a node that was lost
            max_size=workers,
            initial_size=workers,
            max_concurrent_calls_per_actor=_CALLS_PER_WORKER,
            enable_true_multi_threading=True,
        ),
    )
    try:
        for table in dataset.iter_batches(batch_format="pyarrow", batch_size=None):
            yield _of_row(table, "rows")
    finally:
        listed.forget()


def _asked(*work: Any) -> Iterator[pa.StructArray]:
    """Have somebody on the head do what _streamed does, and ask for it: Ray Data does not run through a client."""
    on_the_head = {"node:__internal_head__": 0.001}
    streamer: Any = ray.remote(_Streamer).options(num_cpus=0, resources=on_the_head)
    streamer = streamer.remote(*work)
    asked = deque(streamer.more.remote() for _ in range(_ASKED_AHEAD))
    while (rows := ray.get(asked.popleft())) is not None:
        asked.append(streamer.more.remote())
        yield rows


class _Streamer:
    def __init__(self, *work: Any) -> None:
        self._rows = _streamed(*work)

    def more(self) -> pa.StructArray | None:
        return next(self._rows, None)


class Listed(Datasource):
    """Batches as Ray Data reads them: on the node of whoever asks, and once.

    Ray would do it again if that process were lost, and pass over as many as it has had; but by then there may be other
    files, and rows would be lost or doubled.
    """

    def __init__(self, batches: Batches, run: str) -> None:
        """Take what gives the batches, and a name that no other run has."""
        self._batches, self._run = batches, run

    @property
    def supports_distributed_reads(self) -> bool:
        """Return False."""
        return False

    def estimate_inmemory_data_size(self) -> int | None:
        """Return None: nobody knows."""
        return None

    def get_read_tasks(self, parallelism: int, *args: Any, **options: Any) -> list[ReadTask]:
        """Return the one task; it raises SourceError the second time."""
        batches, run = self._batches, self._run

        def read() -> Iterator[pa.Table]:
            try:
                _listing(run).touch(exist_ok=False)
            except FileExistsError as error:
                raise SourceError("what lists the files was ended; run it again, a scan with --resume") from error
            return (_as_row("items", items, number) for number, items in enumerate(batches()))

        return [ReadTask(read, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]

    def forget(self) -> None:
        """Leave nothing behind, where that is possible."""
        with suppress(OSError, SourceError):  # of another user
            _listing(self._run).unlink()


def _listing(run: str) -> Path:
    return own_folder() / f"{run}-listing"


class _Actor:
    def __init__(self, worker: Callable[..., Worker], arguments: tuple[Any, ...], run: str) -> None:
        self._run = run
        with starting(run):
            self._work = worker(*arguments)

    def __call__(self, batch: pa.Table) -> pa.Table:
        items, number = _of_row(batch, "items"), batch["number"][0].as_py()
        with Diary(self._run, number, len(items)) as diary:
            return _as_row("rows", self._work(items, diary), number)


def _as_row(name: str, values: pa.StructArray, number: int) -> pa.Table:
    return pa.table({name: pa.ListArray.from_arrays([0, len(values)], values), "number": [number]})


def _of_row(table: pa.Table, name: str) -> Any:
    """Return what _as_row put into a table."""
    column: Any = table[name]
    return column.combine_chunks().flatten()
