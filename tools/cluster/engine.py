"""Work on a Ray cluster: batches of what is listed go to workers, and what they make of them comes back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask, read_datasource
from ray.data.block import BlockMetadata
from ray.exceptions import RayError

from ...edge.errors import FacetellError, RuntimeMissingError, SourceError
from ...edge.scan import available_processors

AUTO = "auto"
Batches = Callable[[], Iterator[pa.StructArray]]
_CALLS_PER_WORKER = 2  # one fetches its files while the other scans


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
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address, **options)
    except ConnectionError as error:
        if address != AUTO:
            raise SourceError(
                f"no Ray cluster answers at {address}; wanted auto, HOST:6379 or ray://HOST:10001"
            ) from error
        processors = workers or available_processors()
        ray.init("local", num_cpus=processors, include_dashboard=False, **options)
    except (RuntimeError, ValueError) as error:
        raise SourceError(f"cannot use the Ray cluster at {address}: {error}") from error
    try:
        yield workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


def spread(
    batches: Callable[[], Iterator[pa.StructArray]],
    worker: Callable[..., Worker],
    arguments: tuple[Any, ...],
    workers: int,
) -> Iterator[pa.StructArray]:
    """Yield the rows that workers, each made by worker(*arguments), make of batches: in any order, none twice.

    batches is called once on the node of whoever asks, and read no further than keeps the workers busy. The batch of a
    worker that is lost goes to another. Raises what batches and workers raise on purpose.
    """
    _settle()
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
    try:
        for table in dataset.iter_batches(batch_format="pyarrow", batch_size=None):
            yield table["rows"].combine_chunks().flatten()
    except RayError as error:
        raise _in_our_words(error) from error


def _settle() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # A block is cut at this many bytes but holds a row at least, and a row of ours is a batch: so each travels alone.
    context.target_max_block_size = context.target_min_block_size = 1
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _in_our_words(error: RayError) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FacetellError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    if "ModuleNotFoundError" in str(error):
        return RuntimeMissingError("a node lacks facetell; install the same facetell[cluster] on every node")
    last_line = str(error).strip().splitlines()[-1]
    return SourceError(f"the cluster gave up: {last_line}; run it again with --resume")


class _Batches(Datasource):
    supports_distributed_reads = False  # on the node of whoever asks

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

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
        return _as_row("rows", self._work(batch["items"].combine_chunks().flatten()))


def _as_row(name: str, values: pa.StructArray) -> pa.Table:
    return pa.table({name: pa.ListArray.from_arrays([0, len(values)], values)})
