"""Work on a Ray cluster: batches of what is listed go to workers, and what they make of them comes back."""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from warnings import catch_warnings, simplefilter

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask, read_datasource
from ray.data.block import BlockMetadata
from ray.exceptions import RayError, RayTaskError
from ray.util.client import ray as client

from ...edge.errors import FacetellError, RuntimeMissingError, SourceError
from ...edge.scan import available_processors

AUTO = "auto"
_ANSWER_S = 5
Batches = Callable[[], Iterator[pa.StructArray]]
_CALLS_PER_WORKER = 2  # one fetches its files while the other scans
_ASKED_AHEAD = 16  # batches, so that the way to the head is no wait


class Worker(Protocol):
    """Makes rows of a batch of items; its calls come from more than one thread."""

    def __call__(self, items: pa.StructArray) -> pa.StructArray:
        """Return one row or more for each item."""
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
        ray.init("local", num_cpus=workers or available_processors(), include_dashboard=False, **options)
    else:
        _check_answers(found)
        try:
            with catch_warnings():
                simplefilter("ignore")
                ray.init(found, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            hint = "Ray and Python must be the same there and here, and RAY_AUTH_MODE and RAY_AUTH_TOKEN"
            raise SourceError(f"cannot use the Ray cluster at {found}; {hint}: {error}") from error
    try:
        yield workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


def _running_here() -> str | None:
    """Return the address of the cluster that this machine is a node of, as Ray keeps it, if it answers."""
    if "RAY_ADDRESS" in os.environ:
        return os.environ["RAY_ADDRESS"]
    with suppress(OSError, SourceError):
        address = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster").read_text().strip()
        _check_answers(address)
        return address
    return None


def _check_answers(address: str) -> None:
    """Raise SourceError where nobody listens: Ray would wait for minutes, and end the program."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), _ANSWER_S).close()
    except (OSError, ValueError) as error:
        wanted = "auto, HOST:6379 or ray://HOST:10001"
        raise SourceError(f"no Ray cluster answers at {address}; wanted {wanted}: {error}") from error


def spread(
    batches: Batches, worker: Callable[..., Worker], arguments: tuple[Any, ...], workers: int
) -> Generator[pa.StructArray]:
    """Yield the rows that workers, each made by worker(*arguments), make of batches: in any order, none twice.

    batches is called once, on this node or, through ray://, on the head, and read no further than keeps the workers
    busy. The batch of a worker that is lost goes to another. Raises what batches and workers raise on purpose.
    """
    through_client = client.is_connected()
    try:
        yield from (_asked if through_client else _streamed)(batches, worker, arguments, workers)
    except RayTaskError as error:
        if isinstance(error.cause, FacetellError):
            raise type(error.cause)(str(error.cause).partition("\n")[0]) from error  # Ray adds lines
        raise
    except RayError as error:
        if "ModuleNotFoundError" in str(error):
            message = "a node lacks facetell; install the same facetell[cluster] on every node"
            raise RuntimeMissingError(message) from error
        last_line = str(error).strip().splitlines()[-1]
        raise SourceError(f"the cluster gave up: {last_line}; run it again with --resume") from error


def _streamed(
    batches: Batches, worker: Callable[..., Worker], arguments: tuple[Any, ...], workers: int
) -> Iterator[pa.StructArray]:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # A block is cut at this many bytes but holds a row at least, and a row of ours is a batch: so each travels alone.
    context.target_max_block_size = context.target_min_block_size = 1
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    dataset = read_datasource(_Batches(batches), num_cpus=0, override_num_blocks=1).map_batches(
        _Actor,
        fn_constructor_args=(worker, arguments),
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
    for table in dataset.iter_batches(batch_format="pyarrow", batch_size=None):
        yield _of_row(table, "rows")


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


class _Batches(Datasource):
    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    @property
    def supports_distributed_reads(self) -> bool:
        return False  # but on the node of whoever asks

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *args: Any, **options: Any) -> list[ReadTask]:
        batches = self._batches
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(lambda: (_as_row("items", items) for items in batches()), unknown)]


class _Actor:
    def __init__(self, worker: Callable[..., Worker], arguments: tuple[Any, ...]) -> None:
        self._work = worker(*arguments)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return _as_row("rows", self._work(_of_row(batch, "items")))


def _as_row(name: str, values: pa.StructArray) -> pa.Table:
    return pa.table({name: pa.ListArray.from_arrays([0, len(values)], values)})


def _of_row(table: pa.Table, name: str) -> Any:
    """Return what _as_row put into a table."""
    column: Any = table[name]
    return column.combine_chunks().flatten()
