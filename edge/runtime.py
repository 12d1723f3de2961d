"""The TFLite interpreter, whichever package brings it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from io import FileIO, TextIOWrapper
from typing import Any

import numpy as np

from .errors import ModelError, RuntimeMissingError

RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite.python.interpreter",
}
"""Package name -> module with the Interpreter class, in the order that 'auto' tries them."""

_IDENTIFIER = b"TFL3"
_MIN_BYTES = 1024


def installed_runtimes() -> list[str]:
    """Return the names of the TFLite runtimes that are installed, best first."""
    return [name for name, module in RUNTIMES.items() if find_spec(module.partition(".")[0])]


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Keep quiet what C and C++ libraries write to stderr past every setting; sys.stderr goes on to work.

    TFLite greets there, and libtiff and libjpeg complain of damaged files.
    """
    before = sys.stderr
    before.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    if before is sys.__stderr__:
        raw: Any = FileIO(stderr, "w", closefd=False)
        sys.stderr = TextIOWrapper(raw, encoding=before.encoding, errors=before.errors, write_through=True)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


class TFLiteModel:
    """One .tflite model, ready to run in any thread: as many interpreters are kept as ever ran at once."""

    def __init__(self, content: bytes, runtime: str = "auto") -> None:
        """Load a model from the bytes of its file, with the named runtime or the best one installed.

        Raises RuntimeMissingError when there is no such runtime, ModelError when the bytes are no TFLite model.
        """
        if content[4:8] != _IDENTIFIER or len(content) < _MIN_BYTES:  # the runtimes crash on a mere stump
            raise ModelError("not a TFLite model; wanted a file that facetell export wrote")
        self.runtime = _choose(runtime)
        self._content = content
        interpreter = self._new_interpreter()
        self._input = interpreter.get_input_details()[0]
        self._outputs = interpreter.get_output_details()
        if dtypes := {np.dtype(output["dtype"]).name for output in self._outputs} - {"float32"}:
            raise ModelError(f"the model gives {', '.join(sorted(dtypes))}; wanted outputs of float32")
        self._idle = [interpreter]  # appending and popping are atomic
        self.input_shape: tuple[int, ...] = tuple(self._input["shape"])
        self.output_shapes: list[tuple[int, ...]] = [tuple(output["shape"]) for output in self._outputs]

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        """Run one batch of the model's input shape, cast to its input type, and return the outputs, float32."""
        try:
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = self._new_interpreter()
        try:
            interpreter.set_tensor(self._input["index"], batch.astype(self._input["dtype"], copy=False))
            interpreter.invoke()
            return [interpreter.get_tensor(output["index"]) for output in self._outputs]
        finally:
            self._idle.append(interpreter)

    def _new_interpreter(self) -> Any:
        interpreter_class = _interpreter_class(self.runtime)
        try:
            interpreter = interpreter_class(model_content=self._content, num_threads=1)
            interpreter.allocate_tensors()
        except SystemError as error:  # what tflite-runtime says under numpy 2, for which it was not built
            raise RuntimeMissingError(
                f"{self.runtime} does not work with numpy {np.__version__}; run: pip install 'numpy<2'"
            ) from error
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"not a TFLite model that {self.runtime} can run: {error}") from error
        return interpreter


def _choose(runtime: str) -> str:
    installed = installed_runtimes()
    if runtime == "auto":
        if not installed:
            raise RuntimeMissingError("no TFLite runtime is installed; run: pip install ai-edge-litert")
        return installed[0]
    if runtime not in installed:
        has = ", ".join(installed) or "none"
        raise RuntimeMissingError(f"the runtime {runtime} is not installed (installed: {has}); pip install {runtime}")
    return runtime


def _interpreter_class(runtime: str) -> Any:
    try:
        return import_module(RUNTIMES[runtime]).Interpreter
    except ImportError as error:
        raise RuntimeMissingError(f"{runtime} is installed but cannot be loaded here: {error}") from error
