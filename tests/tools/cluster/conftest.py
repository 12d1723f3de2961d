"""A Ray node of this machine, for all tests of a file."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

os.environ["RAY_AUTH_MODE"] = "disabled"  # Ray looks for it when it is imported

_RAY = Path(sys.executable).with_name("ray")


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """HOST:PORT of a Ray head with two processors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--object-store-memory=200000000"]
    options += [f"--port={port}", "--node-ip-address=127.0.0.1"]
    command = [str(_RAY), "start", "--head", "--block", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    said = ""
    while "Ray runtime started" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    yield f"127.0.0.1:{port}"
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:  # to end it politely takes a minute
        with suppress(psutil.NoSuchProcess):  # Ray ends the others when one is gone
            one.kill()
    process.communicate()
