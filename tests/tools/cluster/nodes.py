"""Ray nodes in network namespaces of this machine, each with an address, a /tmp/ray and a /dev/shm of its own."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BRIDGE = "facetell"
_NETWORK = "10.77.0"
CLIENT_PORT = 10001
_OBJECTS_BYTES = 200_000_000
_RAY = Path(sys.executable).with_name("ray")
_START_S = 60


def can_make_nodes() -> bool:
    """Return whether this process may make network namespaces, and Ray is here."""
    if not (shutil.which("ip") and _RAY.exists() and hasattr(os, "geteuid") and os.geteuid() == 0):
        return False
    return subprocess.run(["unshare", "-nm", "true"], capture_output=True, check=False).returncode == 0


ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_health_check_period_ms": "500",  # a node that is cut off is given up after seconds instead of half a minute
    "RAY_health_check_timeout_ms": "1000",
}
"""Of nodes, and of whoever talks to them."""


def busy_workers(pids: Iterable[int]) -> list[int]:
    """Return which of some processes are Ray's workers at work on a batch."""
    busy = []
    for pid in pids:
        with suppress(OSError):  # gone
            name = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
            if name.startswith("ray::MapWorker") and ".submit" in name:
                busy.append(pid)
    return busy


class Node:
    """One Ray node; the first of a cluster is its head."""

    def __init__(self, number: int) -> None:
        """Make the namespace; nothing runs in it yet."""
        self.address = f"{_NETWORK}.{number + 1}"
        self._name, self._link = f"facetell{number}", f"facetell-{number}"
        _take_away(self._name, self._link)  # which a run that was killed may have left
        _ip("netns", "add", self._name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        _ip("link", "set", self._link, "master", _BRIDGE, "up")
        _ip("-n", self._name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", self._name, "link", "set", device, "up")
        mounts = "mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray; mount -t tmpfs -o size=1g tmpfs /dev/shm"
        command = ["ip", "netns", "exec", self._name, "unshare", "-m", "sh", "-c", f"{mounts}; exec sleep infinity"]
        self._root = subprocess.Popen(command)
        self._wait_for_mounts()

    def run(self, *command: str, **options: object) -> subprocess.Popen[str]:
        """Start a command on the node."""
        inside = ["nsenter", "-t", str(self._root.pid), "-m", "-n", f"--wd={Path.cwd()}", *command]
        return subprocess.Popen(inside, env=os.environ | ENVIRONMENT, text=True, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def start_ray(self, *options: str, processors: int) -> None:
        """Start Ray's processes."""
        own = ["--node-ip-address", self.address, "--num-cpus", str(processors), "--disable-usage-stats"]
        own += ["--object-store-memory", str(_OBJECTS_BYTES)]
        started = self.run(str(_RAY), "start", *own, *options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = started.communicate(timeout=_START_S)
        if started.returncode:
            raise RuntimeError(f"ray start {shlex.join(options)}: {said}")

    def is_at_work(self) -> bool:
        """Return whether a worker of the node has a batch."""
        return bool(busy_workers(self._pids()))

    def cut_off(self) -> None:
        """Take the network away: the node goes on alone."""
        _ip("link", "set", self._link, "down")

    def kill(self) -> None:
        """Kill everything that runs on the node, at once."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._root.wait()

    def remove(self) -> None:
        """Kill it and take its namespace away."""
        self.kill()
        _take_away(self._name, self._link)

    def _pids(self) -> list[int]:
        found = subprocess.run(["ip", "netns", "pids", self._name], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def _wait_for_mounts(self) -> None:
        deadline = time.monotonic() + _START_S
        while "/tmp/ray" not in Path(f"/proc/{self._root.pid}/mounts").read_text():
            if time.monotonic() > deadline:
                raise TimeoutError("the node's mounts were not made")
            time.sleep(0.05)


@contextmanager
def ray_nodes(count: int, processors: int = 1) -> Iterator[list[Node]]:
    """Yield the nodes of a Ray cluster, each with its processors; the first answers at ray://ADDRESS:10001."""
    nodes: list[Node] = []
    try:
        _take_away("", _BRIDGE)
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{_NETWORK}.1/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        for number in range(1, count + 1):
            nodes.append(Node(number))
        head, *others = nodes
        client = f"--ray-client-server-port={CLIENT_PORT}"
        head.start_ray("--head", "--port=6379", "--include-dashboard=false", client, processors=processors)
        for node in others:
            node.start_ray(f"--address={head.address}:6379", processors=processors)
        yield nodes
    finally:
        for node in nodes:
            node.remove()
        _take_away("", _BRIDGE)


def _take_away(namespace: str, link: str) -> None:
    for thing, name in (("link", link), ("netns", namespace)):
        subprocess.run(["ip", thing, "del", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
