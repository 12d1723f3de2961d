"""Whether a large scan gives the same rows where a worker or a node is lost: python -m tests.tools.cluster.lost FOLDER.

Scans it plainly, on a cluster of two workers of which one is killed after 70 seconds, and on two nodes in network
namespaces of which one is killed after 80; prints how long each took and whether the rows are the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from ...program import FACETELL
from .nodes import busy_workers, ray_nodes
from .rows import comparable, plain, rows

Start = Callable[..., "subprocess.Popen[str]"]


def main(folder: Path, work: Path) -> None:
    """Print a line for each scan."""
    started = time.monotonic()
    expected = comparable(plain(folder, "--precision", "float32", output=work / "plain.jsonl"))
    print(f"plain: {time.monotonic() - started:.0f} s, {len(expected)} rows", flush=True)
    scan = [*FACETELL, "scan", str(folder), "--cluster", "auto", "--precision", "float32", "-q", "-o"]

    def disturbed(name: str, start: Start, disturb: Callable[[], None], after_s: float) -> None:
        started = time.monotonic()
        process = start([*scan, str(work / name)])
        time.sleep(after_s)
        disturb()
        process.wait()
        same = "the same rows" if comparable(rows(work / name)) == expected else "OTHER ROWS"
        print(f"{name}: {time.monotonic() - started:.0f} s, {same}", flush=True)

    disturbed("a worker killed", subprocess.Popen, kill_a_worker, 70)
    with ray_nodes(2) as (head, other):
        disturbed("a node killed", lambda command: head.run(*command), other.kill, 80)


def kill_a_worker() -> None:
    """Kill one that is at work."""
    os.kill(busy_workers(psutil.pids())[0], signal.SIGKILL)


if __name__ == "__main__":
    with TemporaryDirectory() as work:
        main(Path(sys.argv[1]), Path(work))
