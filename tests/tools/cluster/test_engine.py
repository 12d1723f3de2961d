"""What the engine promises of batches and addresses, without a cluster."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("ray", reason="ray is not installed")

import pyarrow as pa

from facetell.edge.errors import SourceError
from facetell.tools.cluster.engine import Listed, cluster


def batches() -> Iterator[pa.StructArray]:
    yield pa.array([{"number": 1}, {"number": 2}])


def test_what_is_listed_is_listed_once() -> None:
    listed = Listed(batches, "run")
    (task,) = listed.get_read_tasks(1)
    (table,) = list(task())
    assert table.to_pylist() == [{"items": [{"number": 1}, {"number": 2}], "number": 0}]
    with pytest.raises(SourceError, match="run it again, a scan with --resume"):
        list(task())
    listed.forget()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_where_something_else_answers_is_told_at_once() -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    with pytest.raises(SourceError, match=f"no Ray cluster answers at {address}"), cluster(address, None):
        pass
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "nonsense", "127.0.0.1", "[::1]:{}"])
def test_where_nobody_answers_is_told_at_once(address: str) -> None:
    with pytest.raises(SourceError, match="no Ray cluster answers at"), cluster(address.format(free_port()), None):
        pass
