"""How long a .tflite file takes here, measured in a process of its own.

python -m facetell.edge.latency                     prints the processor and the runtimes that are installed
python -m facetell.edge.latency RUNTIME FILE...     prints the milliseconds that one invocation of each file takes
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from .runtime import TFLiteModel, installed_runtimes

_ROUNDS = 10
_ROUND_S = 0.1
_WARM_UP = 5


def processor() -> str:
    """Return the architecture and, where the system tells it, the name of the processor; or that it is emulated."""
    if emulated := os.environ.get("QEMU_CPU"):
        return f"{platform.machine()} {emulated}, emulated"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))), "")
    return " ".join(part for part in (platform.machine(), name or platform.processor()) if part)


def latencies_ms(contents: Sequence[bytes], runtime: str = "auto") -> list[float]:
    """Return the median milliseconds from a picture's bytes to its scores, in one thread, of some .tflite files.

    The files take turns, so that what else the machine does hits all alike: trust the ratios more than the numbers.
    """
    models = [TFLiteModel(content, runtime) for content in contents]
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, model.input_shape, np.uint8) for model in models]
    seconds: list[list[float]] = [[] for _ in models]
    for turn in range(_ROUNDS):
        for model, image, known in zip(models, images, seconds, strict=True):
            for _ in range(_WARM_UP if turn == 0 else 1):
                model.run(image)
            until = time.perf_counter() + _ROUND_S
            while time.perf_counter() < until:
                known.append(_timed(model, image))
    return [float(np.median(known)) * 1000 for known in seconds]


def _timed(model: TFLiteModel, image: np.ndarray) -> float:
    started = time.perf_counter()
    model.run(image)
    return time.perf_counter() - started


def package_version(package: str) -> str:
    """Return the version of an installed package, where its name says it."""
    try:
        return version(package)
    except PackageNotFoundError:  # the same module under another name, such as tensorflow-cpu
        return "of unknown version"


if __name__ == "__main__":
    if len(sys.argv) == 1:
        runtimes = {name: package_version(name) for name in installed_runtimes()}
        print(json.dumps({"processor": processor(), "runtimes": runtimes}))
    else:
        print(json.dumps(latencies_ms([Path(file).read_bytes() for file in sys.argv[2:]], sys.argv[1])))
